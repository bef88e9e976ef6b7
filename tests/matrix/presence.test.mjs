// Presence of people with Matrix clients: what a real Synapse tells the city's daemon, as frames in a browser.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closing, internalHeaders, person } from '../e2e/support/city.mjs';
import { INTERNAL_KEY, runBinary, startServer, temporaryDirectory } from '../e2e/support/server.mjs';
import { Client } from '../e2e/support/http.mjs';
import { goOnline, openPresence, openRoom } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import {
  MatrixCity, NO_LIMITS, Resident, STEADY,
} from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';

const encode = encodeURIComponent;
let synapse;
let city;
let general;
let n = 0;

before(async () => {
  synapse = await Synapse.start(NO_LIMITS + STEADY);
  city = await MatrixCity.start(synapse, { PRESENCE_CLOSE_GRACE_MS: 300 });
  await city.listening();
  general = await city.room('general');
});
after(async () => {
  await city?.remove();
  await synapse?.remove();
});

const newcomer = (options) => {
  n += 1;
  return Resident.register(synapse, `resident${n}`, options);
};

async function watch(t, mode = 'rooms') {
  const socket = await openPresence(city.server, person(city), { mode });
  closing(t, socket);
  return socket;
}

/** The counts of a room as the sockets of the city hear them, from the snapshot on. */
function untilRoom(socket, room, fits) {
  return socket.nextFrame((frame) => {
    const counts = frame.type === 'snapshot' ? frame.rooms.find((entry) => entry.room_slug === room.slug) : frame;
    return counts?.room_slug === room.slug && fits(counts);
  }, 20_000);
}

/** The histograms of the city: {heard, change}, each {count, sum, buckets}. */
async function lag() {
  const { text } = await city.internal.get('/metrics');
  const all = (name) => text.split('\n').filter((line) => line.startsWith(name)).map((line) => Number(line.split(' ').at(-1)));
  return Object.fromEntries(['heard', 'change'].map((what) => {
    const name = `daarion_presence_${what}_to_frame_seconds`;
    return [what, { count: all(`${name}_count`)[0], sum: all(`${name}_sum`)[0], buckets: all(`${name}_bucket`) }];
  }));
}

describe('somebody with a Matrix client', () => {
  test('comes online, goes away and offline in the rooms that he is in', async (t) => {
    const socket = await watch(t);
    const anna = await newcomer();
    await anna.join(general.matrix_room_id);
    const before = await lag();
    await anna.presence('online');
    await untilRoom(socket, general, (room) => room.online_count === 1 && room.away_count === 0);
    // How old it was when its frame went out, in two histograms: since it was heard, and since it happened.
    const after = await lag();
    for (const what of ['heard', 'change']) {
      assert.ok(after[what].count > before[what].count, what);
      assert.ok(after[what].sum >= before[what].sum && after[what].sum - before[what].sum < 30, what);
      assert.equal(after[what].buckets.at(-1), after[what].count, what);
    }
    await anna.presence('unavailable');
    await untilRoom(socket, general, (room) => room.online_count === 1 && room.away_count === 1);
    await anna.presence('offline');
    await untilRoom(socket, general, (room) => room.online_count === 0 && room.away_count === 0);
  });

  test('types and stops', async (t) => {
    const socket = await watch(t);
    const borys = await newcomer();
    await borys.join(general.matrix_room_id);
    await borys.typing(general.matrix_room_id, true);
    await untilRoom(socket, general, (room) => room.typing_count === 1);
    await borys.typing(general.matrix_room_id, false);
    await untilRoom(socket, general, (room) => room.typing_count === 0);
  });

  test('counts no longer once he leaves, and again when he comes back', async (t) => {
    const socket = await watch(t);
    const vira = await newcomer();
    await vira.presence('online');
    await vira.join(general.matrix_room_id);
    await untilRoom(socket, general, (room) => room.online_count === 1);
    await vira.leave(general.matrix_room_id);
    await untilRoom(socket, general, (room) => room.online_count === 0);
    await vira.join(general.matrix_room_id);
    await untilRoom(socket, general, (room) => room.online_count === 1);
    await vira.presence('offline');
    await untilRoom(socket, general, (room) => room.online_count === 0);
  });

  test('is named by his Matrix id, a resident by his own whatever client he uses', async (t) => {
    const socket = await watch(t, 'heartbeat');
    const hanna = await newcomer();
    await hanna.join(general.matrix_room_id);
    await hanna.presence('online');
    const isOnline = (id) => (frame) => frame.event === 'presence.update' && frame.user_id === id && frame.status === 'online';
    await socket.nextFrame(isOnline(hanna.id), 20_000);
    await hanna.presence('offline');
    // His own account, in Element.
    const user = person(city);
    const made = await city.internal.post('/internal/matrix/users/token', { user_id: user.id }, { headers: internalHeaders });
    assert.equal(made.status, 200, made.text);
    const resident = Object.assign(new Resident(), { synapse, id: made.json.matrix_user_id, token: made.json.access_token });
    await resident.join(general.matrix_room_id);
    await resident.presence('online');
    await socket.nextFrame(isOnline(user.id), 20_000);
    const rooms = await watch(t);
    await untilRoom(rooms, general, (room) => room.online_count === 1);
    // And in the browser too: one person.
    closing(t, await goOnline(city.server, user));
    await resident.presence('offline');
    await resident.leave(general.matrix_room_id);
    await untilRoom(rooms, general, (room) => room.online_count === 0);
    await city.until((_, status) => status.online_total === 1); // by his browser
  });

  test('with a name of any length and with any letters is named as well as counted', async (t) => {
    const socket = await watch(t);
    const heartbeats = await watch(t, 'heartbeat');
    const longest = 'l'.repeat(255 - synapse.serverName.length - 2);
    for (const username of ['a.b/c=d+e-f_g', longest]) {
      const odd = await Resident.register(synapse, username);
      await odd.join(general.matrix_room_id);
      await odd.presence('online');
      await heartbeats.nextFrame((frame) => frame.event === 'presence.update' && frame.user_id === odd.id, 20_000);
      await untilRoom(socket, general, (room) => room.online_count === 1);
      await odd.typing(general.matrix_room_id, true);
      await untilRoom(socket, general, (room) => room.typing_users.includes(odd.id));
      assert.deepEqual((await city.api.ok('GET', '/api/city/rooms/general')).online_members, [odd.id]);
      await odd.presence('offline');
      await odd.leave(general.matrix_room_id);
      await untilRoom(socket, general, (room) => room.online_count === 0);
    }
  });
});

test('somebody whose id is too long for a Matrix id is one person by whichever client', async (t) => {
  // 128 bytes of Unicode: 384 once encoded, so the account is named by a hash.
  const user = makeUser('Довге Ім’я', `житель_${'щ'.repeat(57)}`);
  user.api = city.api.as(user);
  assert.ok(Buffer.byteLength(user.id) <= 128);
  const made = await city.internal.post('/internal/matrix/users/token', { user_id: user.id }, { headers: internalHeaders });
  assert.equal(made.status, 200, made.text);
  const resident = Object.assign(new Resident(), { synapse, id: made.json.matrix_user_id, token: made.json.access_token });
  assert.match(resident.id, /^@daarion\.=_[0-9a-f]{64}:/);
  const people = await watch(t, 'heartbeat');
  const rooms = await watch(t);
  await resident.join(general.matrix_room_id);
  await resident.presence('online');
  const first = await people.nextFrame((frame) => frame.event === 'presence.update' && frame.status === 'online', 20_000);
  assert.equal(first.user_id, user.id);
  await untilRoom(rooms, general, (room) => room.online_count === 1);
  const browser = await goOnline(city.server, user);
  closing(t, browser);
  const inRoom = await openRoom(city.server, 'general', user);
  closing(t, inRoom);
  inRoom.send({ event: 'room.join', room_id: inRoom.snapshot.room_id });
  await city.until((_, status) => status.sessions === 2);
  const both = await city.status();
  assert.equal(both.online_total, 1);
  assert.equal(both.rooms.find((room) => room.slug === 'general').online_count, 1);
  assert.equal(both.sources.find((source) => source.name === 'matrix').people_unknown, 0);
  // The Matrix client goes, then the browser; what we have told the homeserver keeps nobody here.
  await resident.presence('offline');
  browser.terminate();
  inRoom.terminate();
  await untilRoom(rooms, general, (room) => room.online_count === 0);
  await city.until((_, status) => status.online_total === 0);
  const seen = [...people.frames, ...rooms.frames].map(({ frame }) => frame);
  assert.ok(seen.every((frame) => !(frame.room_slug === 'general' && frame.online_count > 1)), JSON.stringify(seen));
  assert.ok(!JSON.stringify(seen).includes(resident.id), 'he was shown by his Matrix id');
});

test('a resident in the browser is told to the homeserver, and its echo does not keep him online', async (t) => {
  const user = person(city);
  const made = await city.internal.post('/internal/matrix/users/token', { user_id: user.id }, { headers: internalHeaders });
  assert.equal(made.status, 200, made.text);
  const resident = Object.assign(new Resident(), { synapse, id: made.json.matrix_user_id, token: made.json.access_token });
  await resident.join(general.matrix_room_id);
  const socket = await watch(t);
  const browser = await goOnline(city.server, user);
  await untilRoom(socket, general, (room) => room.online_count === 1);
  const own = `/presence/${encode(resident.id)}/status`;
  for (const deadline = performance.now() + 20_000; (await resident.ok('GET', own)).presence !== 'online';) {
    assert.ok(performance.now() < deadline, 'the homeserver has not been told');
  }
  browser.terminate();
  await untilRoom(socket, general, (room) => room.online_count === 0);
  for (const deadline = performance.now() + 20_000; (await resident.ok('GET', own)).presence !== 'offline';) {
    assert.ok(performance.now() < deadline, 'the homeserver has not been told that he is gone');
  }
  assert.equal((await city.status()).online_total, 0);
});

describe('the daemon', () => {
  test('is nobody, and appears offline', async () => {
    const status = await city.status();
    assert.equal(status.rooms.find((room) => room.slug === 'general')?.online_count ?? 0, 0);
    const daemon = await city.daemon.ok('GET', `/presence/${encode(city.daemon.id)}/status`);
    assert.equal(daemon.presence, 'offline');
  });

  test('joins a room that the city makes later', async (t) => {
    const socket = await watch(t);
    const user = person(city);
    const room = await user.api.createRoom('Нова кімната', { slug: 'later' });
    assert.ok(room.matrix_room_id);
    await city.listening(4);
    const daryna = await newcomer();
    await daryna.join(room.matrix_room_id);
    await daryna.presence('online');
    await untilRoom(socket, room, (counts) => counts.online_count === 1);
    await daryna.presence('offline');
    await untilRoom(socket, room, (counts) => counts.online_count === 0);
  });

  test('comes back when it is kicked, and nobody is offline for that', async (t) => {
    const welcome = await city.room('welcome');
    const yevhen = await newcomer();
    await yevhen.join(welcome.matrix_room_id);
    await yevhen.presence('online');
    const socket = await watch(t);
    await untilRoom(socket, welcome, (room) => room.online_count === 1);
    const asService = `?user_id=${encode(`@daarion-city:${synapse.serverName}`)}`;
    const kicked = await synapse.call('POST', `/_matrix/client/v3/rooms/${encode(welcome.matrix_room_id)}/kick${asService}`,
      { token: synapse.asToken, json: { user_id: city.daemon.id } });
    assert.equal(kicked.status, 200, JSON.stringify(kicked.json));
    await city.server.waitForEvent((event) => event.event === 'presence.matrix_room_left', 20_000);
    await city.listening(4);
    const zoya = await newcomer();
    await zoya.join(welcome.matrix_room_id);
    await zoya.presence('online');
    await untilRoom(socket, welcome, (room) => room.online_count === 2);
    const counts = socket.frames.map(({ frame }) => frame).filter((frame) => frame.room_slug === 'welcome');
    assert.ok(counts.every((frame) => frame.online_count >= 1), JSON.stringify(counts));
    await Promise.all([yevhen.presence('offline'), zoya.presence('offline')]);
    await untilRoom(socket, welcome, (room) => room.online_count === 0);
  });

  test('a homeserver that stops and starts makes nobody offline', async (t) => {
    const builders = await city.room('builders');
    const ivan = await newcomer();
    await ivan.join(builders.matrix_room_id);
    await ivan.presence('online');
    const socket = await watch(t);
    await untilRoom(socket, builders, (room) => room.online_count === 1);
    await synapse.control('stop');
    await city.until((matrix) => matrix.state !== 'fresh');
    const down = await city.until((matrix) => matrix.state === 'down');
    assert.ok(down.reason.length > 0 && !(await city.status()).sync_running);
    const health = await city.internal.ok('GET', '/internal/presence/health');
    assert.equal(health.status, 'degraded');
    const status = await city.status();
    assert.equal(status.rooms.find((room) => room.slug === 'builders').online_count, 1);
    await synapse.control('start');
    await city.until((matrix) => matrix.state === 'fresh');
    assert.equal((await city.status()).rooms.find((room) => room.slug === 'builders').online_count, 1);
    // Somebody new is heard; whoever was here has been so all the time. (That he has gone the homeserver
    // itself says late now: what it knew of devices is lost in a restart.)
    const petro = await newcomer();
    await petro.join(builders.matrix_room_id);
    await petro.presence('online');
    await untilRoom(socket, builders, (room) => room.online_count === 2);
    const counts = socket.frames.map(({ frame }) => frame).filter((frame) => frame.room_slug === 'builders');
    assert.ok(counts.every((frame) => frame.online_count >= 1), JSON.stringify(counts));
  });
});

describe('what is set wrong', () => {
  test('a homeserver without presence is told from a city where nobody is', async (t) => {
    for (const enabled of ['true', 'false', '"untracked"']) {
      const other = await Synapse.start(`${NO_LIMITS}presence: {enabled: ${enabled}}\n`);
      t.after(() => other.remove());
      const quiet = await MatrixCity.start(other, { LOG_LEVEL: 'debug' });
      t.after(() => quiet.remove());
      await quiet.listening();
      const daemon = `/presence/${encode(quiet.daemon.id)}/status`;
      if (enabled === 'true') {
        await quiet.server.waitForEvent((one) => one.event === 'presence.matrix_probed', 20_000);
        assert.equal((await quiet.source()).presence_mode, 'unknown');
      } else {
        await quiet.until((matrix) => matrix.presence_mode === 'off');
        const event = await quiet.server.waitForEvent((one) => one.event === 'presence.matrix_off', 1000);
        assert.match(event.hint, /presence/);
      }
      assert.equal((await quiet.daemon.ok('GET', daemon)).presence, 'offline');
    }
  });

  test('a token that the homeserver refuses: the source is down and says why, the rest goes on', async (t) => {
    const server = await startServer({
      SYNAPSE_URL: synapse.url, MATRIX_SERVER_NAME: synapse.serverName, MATRIX_AS_TOKEN: synapse.asToken,
      MATRIX_ACCESS_TOKEN: 'syt_no_such_token', MATRIX_USER_ID: city.daemon.id,
    });
    t.after(() => server.remove());
    const event = await server.waitForEvent((one) => one.event === 'presence.matrix_refused', 20_000);
    assert.equal(event.code, 'matrix_token_refused');
    assert.match(event.hint, /MATRIX_ACCESS_TOKEN/);
    assert.ok(!server.stderr.includes('syt_no_such_token'));
    const other = Object.assign(new MatrixCity(), { server, internal: new Client(server.internalUrl) });
    const matrix = await other.until((source) => source.state === 'down');
    assert.match(matrix.reason, /token/i);
  });

  test("somebody else's token", async (t) => {
    const stranger = await newcomer();
    const server = await startServer({
      SYNAPSE_URL: synapse.url, MATRIX_ACCESS_TOKEN: stranger.token, MATRIX_USER_ID: city.daemon.id,
      MATRIX_SERVER_NAME: synapse.serverName, MATRIX_AS_TOKEN: synapse.asToken,
    });
    t.after(() => server.remove());
    const event = await server.waitForEvent((one) => one.event === 'presence.matrix_refused', 20_000);
    assert.match(JSON.stringify(event), /MATRIX_USER_ID/);
  });

  test('a setting without its partners stops the start and is named', async () => {
    const shared = { HOST: '127.0.0.1', PORT: 0, INTERNAL_PORT: 0, LOG_FORMAT: 'json', INTERNAL_API_KEY: INTERNAL_KEY };
    const rows = [
      [{ MATRIX_ACCESS_TOKEN: 'x', MATRIX_USER_ID: '@d:a.test' }, /SYNAPSE_URL/],
      [{ SYNAPSE_URL: synapse.url, MATRIX_SERVER_NAME: 'a.test', MATRIX_AS_TOKEN: 'x', MATRIX_USER_ID: '@d:a.test' }, /MATRIX_ACCESS_TOKEN/],
      [{ SYNAPSE_URL: synapse.url, MATRIX_SERVER_NAME: 'a.test', MATRIX_AS_TOKEN: 'x', MATRIX_ACCESS_TOKEN: 'x' }, /MATRIX_USER_ID/],
      [{ SYNAPSE_URL: synapse.url, MATRIX_SERVER_NAME: 'b.test', MATRIX_AS_TOKEN: 'x', MATRIX_ACCESS_TOKEN: 'x', MATRIX_USER_ID: '@d:a.test' }, /MATRIX_SERVER_NAME/],
    ];
    for (const [env, named] of rows) {
      const { code, stderr } = await runBinary(['up'], { env: { ...shared, ...env, DATA_DIR: temporaryDirectory() } });
      assert.equal(code, 78, stderr);
      assert.match(stderr, named);
    }
  });
});
