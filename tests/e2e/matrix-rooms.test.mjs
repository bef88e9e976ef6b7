// City rooms and their Matrix rooms, over a homeserver that does what these tests tell it to; archived rooms.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { closing, internalHeaders, person, useCity } from './support/city.mjs';
import { AS_TOKEN, FakeHomeserver, SERVER_NAME } from './support/homeserver.mjs';
import { assertError, Client } from './support/http.mjs';
import { connect } from './support/raw.mjs';
import { binary, childEnvironment, INTERNAL_KEY, runBinary, startServer } from './support/server.mjs';
import { openPresence, openRoom } from './support/sockets.mjs';
import { makeUser } from './support/tokens.mjs';

const alias = (slug) => `#city_${slug}:${SERVER_NAME}`;

/** A homeserver and a city on it. */
function useBridge(env = {}) {
  const rig = {};
  before(async () => {
    rig.homeserver = await new FakeHomeserver().listen();
    rig.server = await startServer({
      SYNAPSE_URL: rig.homeserver.url,
      MATRIX_SERVER_NAME: SERVER_NAME,
      MATRIX_AS_TOKEN: AS_TOKEN,
      MATRIX_TIMEOUT_MS: 2000,
      MATRIX_CHECK_INTERVAL_MS: 100,
      ...env,
    });
    rig.api = new Client(rig.server.publicUrl);
    rig.internal = new Client(rig.server.internalUrl);
  });
  afterEach(() => {
    rig.homeserver.mode = 'ok';
    rig.homeserver.release();
  });
  after(async () => {
    await rig.server?.remove();
    await rig.homeserver?.close();
  });
  return rig;
}

const backfill = (rig, query = '', headers = internalHeaders) => rig.internal.request('POST',
  `/internal/city/matrix/backfill${query}`, { headers });

async function roomBySlug(rig, slug) {
  return rig.api.ok('GET', `/api/city/rooms/${slug}`);
}

describe('creating a room', () => {
  const rig = useBridge();

  test('makes its Matrix room, and both are told', async () => {
    const user = person(rig);
    const room = await user.api.createRoom('Наука', { slug: 'nauka' });
    assert.equal(room.matrix_room_alias, alias('nauka'));
    assert.equal(room.matrix_room_id, rig.homeserver.aliases.get(alias('nauka')));
    assert.equal(rig.homeserver.asked(/createRoom/).at(-1).body.name, 'DAARION City — Наука');
    const listed = (await rig.api.ok('GET', '/api/city/rooms')).find((entry) => entry.id === room.id);
    assert.equal(listed.matrix_room_id, room.matrix_room_id);
    const internal = await rig.internal.ok('GET', '/internal/city/rooms', undefined, { headers: internalHeaders });
    assert.equal(internal.find((entry) => entry.id === room.id).matrix_room_id, room.matrix_room_id);
    // It is in the database, not in memory alone.
    await rig.server.stop();
    await rig.server.start();
    assert.equal((await roomBySlug(rig, 'nauka')).matrix_room_id, room.matrix_room_id);
  });

  for (const mode of ['html502', 'hang', 'badJson', 'error500']) {
    test(`with a homeserver that answers ${mode} is 503 and leaves nothing behind`, async () => {
      const user = person(rig);
      const rooms = rig.homeserver.rooms.size;
      rig.homeserver.mode = mode;
      const refused = await user.api.post('/api/city/rooms', { name: 'Later', slug: `later-${mode.toLowerCase()}` });
      assertError(refused, 503, 'matrix_unavailable');
      assert.equal((await rig.api.get(`/api/city/rooms/later-${mode.toLowerCase()}`)).status, 404);
      rig.homeserver.mode = 'ok';
      rig.homeserver.release();
      const made = await user.api.createRoom('Later', { slug: `later-${mode.toLowerCase()}` });
      assert.equal(made.matrix_room_id, rig.homeserver.aliases.get(alias(made.slug)));
      assert.equal(rig.homeserver.rooms.size, rooms + 1);
    });
  }

  test('with a homeserver that nobody reaches is 503, and well when it is back', async () => {
    const user = person(rig);
    await rig.homeserver.close();
    const refused = await user.api.post('/api/city/rooms', { name: 'Down' });
    assertError(refused, 503, 'matrix_unavailable');
    await rig.homeserver.listen();
    assert.equal((await user.api.createRoom('Down')).slug, 'down');
  });

  test('killed behind the homeserver finds the room by its alias the next time', async () => {
    const user = person(rig);
    rig.homeserver.answer(/POST .*createRoom/, 'hang');
    const lost = user.api.post('/api/city/rooms', { name: 'Crash', slug: 'crash' }).catch((error) => error);
    await rig.homeserver.waitFor(/POST .*createRoom/);
    while (rig.homeserver.asked(/createRoom/).at(-1).body.room_alias_name !== 'city_crash') {
      await rig.api.get('/livez');
    }
    await rig.server.kill();
    await lost;
    rig.homeserver.release(); // it goes on with what it was asked
    while (!rig.homeserver.aliases.has(alias('crash'))) {
      await new Promise(setImmediate);
    }
    const id = rig.homeserver.aliases.get(alias('crash'));
    await rig.server.start();
    assert.equal((await rig.api.get('/api/city/rooms/crash')).status, 404);
    assert.equal((await user.api.createRoom('Crash', { slug: 'crash' })).matrix_room_id, id);
  });

  test('does not take a stranger\'s room: another slug, or 409', async () => {
    const user = person(rig);
    rig.homeserver.addRoom(alias('squat'), `@mallory:${SERVER_NAME}`);
    assertError(await user.api.post('/api/city/rooms', { name: 'X', slug: 'squat' }), 409, 'alias_taken');
    const room = await user.api.createRoom('Squat');
    assert.equal(room.slug, 'squat-2');
    assert.equal(room.matrix_room_alias, alias('squat-2'));
  });

  test('with a slug that exists makes no Matrix room', async () => {
    const user = person(rig);
    await user.api.createRoom('One', { slug: 'one' });
    const before = rig.homeserver.asked(/createRoom/).length;
    assertError(await user.api.post('/api/city/rooms', { name: 'One', slug: 'one' }), 409, 'slug_taken');
    assert.equal(rig.homeserver.asked(/createRoom/).length, before);
    assert.equal((await user.api.createRoom('One')).slug, 'one-2');
  });

  test('all at the same time gives each its own', async () => {
    const users = Array.from({ length: 12 }, () => person(rig));
    const rooms = await Promise.all(users.map((user) => user.api.createRoom('Разом')));
    assert.equal(new Set(rooms.map((room) => room.slug)).size, rooms.length);
    assert.equal(new Set(rooms.map((room) => room.matrix_room_id)).size, rooms.length);
    for (const room of rooms) {
      assert.equal(room.matrix_room_id, rig.homeserver.aliases.get(alias(room.slug)));
    }
  });
});

describe('a gateway of its own', () => {
  const rig = useBridge();

  test('is called by its URL', async (t) => {
    const other = await startServer({ MATRIX_GATEWAY_URL: `${rig.server.internalUrl}/` });
    t.after(() => other.remove());
    const user = person({ api: new Client(other.publicUrl) });
    const room = await user.api.createRoom('Remote');
    assert.equal(room.matrix_room_id, rig.homeserver.aliases.get(alias('remote')));
  });

  test('that is another program, or has another key, is named', async (t) => {
    const cases = [[{ MATRIX_GATEWAY_URL: rig.homeserver.url }, /URL/],
      [{ MATRIX_GATEWAY_URL: rig.server.internalUrl, INTERNAL_API_KEY: 'another-key-0123456789-0123456789' }, /INTERNAL_API_KEY/],
      [{ MATRIX_GATEWAY_URL: 'http://127.0.0.1:1' }, /cannot be reached/]];
    for (const [env, detail] of cases) {
      const other = await startServer(env);
      t.after(() => other.remove());
      const user = person({ api: new Client(other.publicUrl) });
      const refused = await user.api.post('/api/city/rooms', { name: 'Remote' });
      assertError(refused, 503, 'matrix_unavailable');
      assert.match(refused.json.detail, detail);
    }
  });
});

/** Rooms from a time in which the city had no homeserver. */
async function roomsOfBefore(rig, user, length, name) {
  await rig.server.stop();
  delete rig.server.env.SYNAPSE_URL;
  await rig.server.start();
  await Promise.all(Array.from({ length }, (_, i) => user.api.createRoom(`${name} ${i}`)));
  await rig.server.stop();
  rig.server.env.SYNAPSE_URL = rig.homeserver.url;
  await rig.server.start();
}

describe('backfill', () => {
  // Rooms from before the homeserver: made without one.
  const rig = useBridge({ SYNAPSE_URL: undefined });
  let rooms;

  before(async () => {
    const user = person(rig);
    assertError(await backfill(rig), 503, 'matrix_not_configured');
    await Promise.all(Array.from({ length: 60 }, (_, i) => user.api.createRoom(`Old ${i}`)));
    await rig.server.stop();
    rig.server.env.SYNAPSE_URL = rig.homeserver.url;
    await rig.server.start();
    rooms = await rig.api.ok('GET', '/api/city/rooms');
    assert.equal(rooms.length, 63);
    assert.ok(rooms.every((room) => room.matrix_room_id === null));
  });

  test('needs the key, and sane parameters', async () => {
    assertError(await backfill(rig, '', {}), 401, 'unauthorized');
    for (const query of ['?limit=0', '?limit=x', '?after=%20']) {
      assert.equal((await backfill(rig, query)).status, 422, query);
    }
    assert.equal(rig.homeserver.asked(/createRoom/).length, 0);
  });

  test('a page tells where the next begins; one that fails keeps no other from its room', async () => {
    rig.homeserver.addRoom(alias('old-0'), `@mallory:${SERVER_NAME}`);
    rig.homeserver.addRoom(alias('builders'), `@daarion-city:${SERVER_NAME}`); // ours, from an earlier life
    const { json } = await backfill(rig, '?limit=5');
    assert.equal(json.processed, 5);
    assert.equal(json.remaining, 58);
    assert.equal(json.next, json.details.at(-1).room_id);
    assert.deepEqual(json.details.filter((room) => room.status !== 'created').map((room) => [room.slug, room.status]),
      [['builders', 'found'], ['old-0', 'failed']]);
    assert.equal(json.details.find((room) => room.status === 'failed').error, 'alias_taken');
    const builders = await roomBySlug(rig, 'builders');
    assert.equal(builders.matrix_room_id, rig.homeserver.aliases.get(alias('builders')));
    assert.equal((await roomBySlug(rig, 'old-0')).matrix_room_id, null);
    // The stranger goes away.
    rig.homeserver.aliases.delete(alias('old-0'));
  });

  test('whoever asks next sees it', async () => {
    // In one piece: the second question is read as soon as the first has been answered.
    const raw = await connect(rig.server.internalPort);
    const key = `Host: x\r\nX-Internal-API-Key: ${INTERNAL_KEY}\r\n`;
    raw.send(`POST /internal/city/matrix/backfill?limit=5 HTTP/1.1\r\n${key}Content-Length: 0\r\n\r\n`
      + `GET /internal/city/rooms HTTP/1.1\r\n${key}\r\n`);
    const done = await raw.readResponse({ method: 'POST', path: '/internal/city/matrix/backfill' });
    const listed = await raw.readResponse({ path: '/internal/city/rooms' });
    raw.destroy();
    assert.equal(done.json.created, 5, done.text);
    for (const { room_id: id, matrix_room_id: matrixId } of done.json.details) {
      assert.equal(listed.json.find((room) => room.id === id).matrix_room_id, matrixId);
    }
  });

  test('killed and begun again makes nothing twice; the command shows how far it is', async () => {
    const env = childEnvironment({ INTERNAL_PORT: rig.server.internalPort, INTERNAL_API_KEY: INTERNAL_KEY });
    let asked = rig.homeserver.asked(/createRoom/).length;
    const command = spawn(binary, ['backfill'], { env, stdio: 'pipe' });
    const ended = once(command, 'close');
    while (rig.homeserver.asked(/createRoom/).length < asked + 10) {
      await new Promise(setImmediate);
    }
    await rig.server.kill();
    assert.equal((await ended)[0], 1);
    await rig.server.start();
    const { code, stdout, stderr } = await runBinary(['backfill'], { env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^backfill: (\d+) of \1 rooms, \d+ made, \d+ found, 0 failed\n$/m);
    rooms = await rig.api.ok('GET', '/api/city/rooms');
    for (const room of rooms) {
      assert.equal(room.matrix_room_id, rig.homeserver.aliases.get(alias(room.slug)), room.slug);
    }
    assert.equal(new Set(rooms.map((room) => room.matrix_room_id)).size, rooms.length);
    // A stranger's that has gone, and one for each room of the city.
    assert.equal(rig.homeserver.rooms.size, rooms.length + 1);
    asked = rig.homeserver.asked(/createRoom/).length;
    const { json } = await backfill(rig);
    assert.deepEqual(json, { processed: 0, created: 0, found: 0, failed: 0, remaining: 0, next: null, details: [] });
    assert.equal(rig.homeserver.asked(/createRoom/).length, asked);
  });

  test('the command tells why it cannot', async () => {
    const env = childEnvironment({ INTERNAL_PORT: rig.server.internalPort, INTERNAL_API_KEY: 'another-key-0123456789-0123456789' });
    const refused = await runBinary(['backfill'], { env });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /401/);
    const nobody = await runBinary(['backfill'], { env: { ...env, INTERNAL_PORT: 1 } });
    assert.equal(nobody.code, 1);
    assert.ok(nobody.stderr.startsWith('daarion: '));
  });

  test('twice at the same time ends with one room each', async () => {
    const user = person(rig);
    await roomsOfBefore(rig, user, 20, 'Twice');
    const [one, two] = await Promise.all([backfill(rig), rig.internal.request('POST', '/city/matrix/backfill',
      { headers: internalHeaders })]);
    assert.equal(one.json.failed + two.json.failed, 0);
    const after = await rig.api.ok('GET', '/api/city/rooms');
    assert.equal(new Set(after.map((room) => room.matrix_room_id)).size, after.length);
  });

  test('a homeserver that limits how many rooms are made is waited for, and that is said', async () => {
    const user = person(rig);
    await roomsOfBefore(rig, user, 12, 'Slow');
    const env = childEnvironment({ INTERNAL_PORT: rig.server.internalPort, INTERNAL_API_KEY: INTERNAL_KEY });
    // Longer than the gateway may take for a call, twice; then it makes all of them.
    const limit = [429, { errcode: 'M_LIMIT_EXCEEDED', error: 'x', retry_after_ms: 5100 }];
    rig.homeserver.answer(/createRoom/, limit, 1);
    const { json } = await backfill(rig);
    assert.equal(json.retry_after_ms, 6000); // whole seconds, as Retry-After has them
    assert.equal(json.failed, 0);
    assert.equal(json.processed, json.created);
    assert.ok(json.remaining >= 1 && json.processed + json.remaining === 12, JSON.stringify(json));
    assert.equal(json.details.length, json.processed);
    rig.homeserver.answer(/createRoom/, limit, 1);
    const refused = await user.api.post('/api/city/rooms', { name: 'Too many' });
    assertError(refused, 503, 'matrix_unavailable');
    assert.equal(refused.headers['retry-after'], '6');
    assert.match(refused.json.detail, /limits/);
    rig.homeserver.answer(/createRoom/, limit, 1);
    const { code, stdout, stderr } = await runBinary(['backfill'], { env });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^backfill: \d+ of \d+ rooms, .*; waits 6 s, as the homeserver limits .*MATRIX_AS_TOKEN/m);
    assert.match(stdout, /^backfill: (\d+) of \1 rooms, \d+ made, 0 found, 0 failed\n$/m);
    for (const room of await rig.api.ok('GET', '/api/city/rooms')) {
      assert.equal(room.matrix_room_id, rig.homeserver.aliases.get(alias(room.slug)), room.slug);
    }
  });
});

describe('a page that talks Matrix', () => {
  const rig = useBridge({ MATRIX_PUBLIC_URL: 'https://chat.example.org' });
  const bootstrap = (user, query) => user.api.get(`/api/city/chat/bootstrap${query}`);

  test('gets a session of its own for each call', async () => {
    const user = person(rig, 'Оленка');
    const room = await user.api.createRoom('Chat', { slug: 'chat', description: 'Балачки' });
    const first = await bootstrap(user, '?room_slug=chat');
    assert.equal(first.status, 200, first.text);
    assert.equal(first.headers['cache-control'], 'no-store');
    assert.equal(first.json.matrix_hs_url, 'https://chat.example.org');
    assert.equal(first.json.matrix_room_id, room.matrix_room_id);
    assert.deepEqual(first.json.room, { id: room.id, slug: 'chat', name: 'Chat', description: 'Балачки' });
    assert.equal(rig.homeserver.users.get(first.json.matrix_user_id).displayname, 'Оленка');
    assert.equal(rig.homeserver.tokens.get(first.json.matrix_access_token).user, first.json.matrix_user_id);
    const second = await bootstrap(user, `?room_slug=${room.id}`);
    assert.notEqual(second.json.matrix_device_id, first.json.matrix_device_id);
    assert.notEqual(second.json.matrix_access_token, first.json.matrix_access_token);
    const again = await bootstrap(user, `?room_slug=chat&device_id=${first.json.matrix_device_id}`);
    assert.equal(again.json.matrix_device_id, first.json.matrix_device_id);
  });

  test('a name that Matrix cannot show is no obstacle', async () => {
    for (const name of ['Довге ім\'я '.repeat(12), 'два\nрядки']) {
      const answer = await bootstrap(person(rig, name), '?room_slug=chat');
      assert.equal(answer.status, 200, answer.text);
    }
  });

  test('is told what is wrong', async () => {
    const user = person(rig);
    assertError(await rig.api.get('/api/city/chat/bootstrap?room_slug=chat'), 401, 'unauthorized');
    assertError(await bootstrap(user, '?room_slug=nowhere'), 404, 'room_not_found');
    assertError(await bootstrap(user, ''), 422, 'invalid_input', 'room_slug');
    assertError(await bootstrap(user, '?room_slug=general'), 400, 'room_without_matrix');
    assertError(await bootstrap(user, '?room_slug=chat&device_id=%0a'), 422, 'invalid_input', 'device_id');
    const open = await startServer({ AUTH_MODE: 'open' });
    try {
      assertError(await new Client(open.publicUrl).get('/api/city/chat/bootstrap?room_slug=general'), 401, 'unauthorized');
    } finally {
      await open.remove();
    }
  });

  test('hears of the homeserver\'s refusals as they are', async () => {
    const user = person(rig);
    rig.homeserver.mode = 'html502';
    assertError(await bootstrap(user, '?room_slug=chat'), 503, 'matrix_unavailable');
    rig.homeserver.mode = 'ok';
    assert.equal((await bootstrap(user, '?room_slug=chat')).status, 200);
    const { json: { matrix_user_id: id } } = await bootstrap(user, '?room_slug=chat');
    rig.homeserver.users.get(id).deactivated = true;
    assertError(await bootstrap(user, '?room_slug=chat'), 403, 'matrix_user_deactivated');
    rig.homeserver.answer(/POST .*login/, [429, { errcode: 'M_LIMIT_EXCEEDED', error: 'x', retry_after_ms: 60000 }]);
    const limited = await bootstrap(person(rig), '?room_slug=chat');
    assertError(limited, 429, 'rate_limited');
    assert.ok(Number(limited.headers['retry-after']) >= 1);
  });
});

describe('a Matrix room that is replaced', () => {
  const rig = useBridge();
  const moved = (matrixRoomId, headers = internalHeaders) => rig.internal.request('POST', '/internal/city/matrix/moved',
    { headers, json: { matrix_room_id: matrixRoomId } });

  test('is followed to where its alias leads, once it leads there', async () => {
    const user = person(rig);
    const room = await user.api.createRoom('Вежа', { slug: 'tower' });
    // Told twice, before the homeserver has moved the alias: it is looked at again.
    assert.deepEqual((await moved(room.matrix_room_id)).json, { is_looking: true });
    assert.deepEqual((await moved(room.matrix_room_id)).json, { is_looking: true });
    await rig.homeserver.waitFor(/^GET \S*directory\S*tower/);
    rig.homeserver.answer(/^GET \S*directory\S*tower/, [500, { errcode: 'M_UNKNOWN', error: 'x' }], 2);
    const fresh = rig.homeserver.addRoom(alias('tower'), rig.homeserver.rooms.get(room.matrix_room_id).creator);
    const line = await rig.server.waitForEvent((event) => event.event === 'city.matrix_room_moved');
    assert.deepEqual([line.room, line.from, line.matrix_room_id], ['tower', room.matrix_room_id, fresh]);
    const deadline = performance.now() + 10_000;
    while ((await roomBySlug(rig, 'tower')).matrix_room_id !== fresh) {
      assert.ok(performance.now() < deadline, 'the city still names the old one');
    }
    // The old one is nobody's now.
    assert.deepEqual((await moved(room.matrix_room_id)).json, { is_looking: false });
  });

  test('by a stranger\'s is not', async () => {
    const room = await person(rig).api.createRoom('Брама', { slug: 'gate' });
    rig.homeserver.addRoom(alias('gate'), `@mallory:${SERVER_NAME}`);
    assert.equal((await moved(room.matrix_room_id)).status, 200);
    const line = await rig.server.waitForEvent((event) => event.event === 'city.matrix_room_not_moved');
    assert.deepEqual([line.room, line.code], ['gate', 'alias_taken']);
    assert.equal((await roomBySlug(rig, 'gate')).matrix_room_id, room.matrix_room_id);
  });

  test('by the one of another room of the city is not', async () => {
    const user = person(rig);
    const north = await user.api.createRoom('Північ', { slug: 'north' });
    const south = await user.api.createRoom('Південь', { slug: 'south' });
    rig.homeserver.aliases.set(alias('north'), south.matrix_room_id);
    assert.equal((await moved(north.matrix_room_id)).status, 200);
    const line = await rig.server.waitForEvent((event) => event.event === 'city.matrix_room_not_moved'
      && event.room === 'north');
    assert.equal(line.code, 'conflict');
    assert.equal((await roomBySlug(rig, 'north')).matrix_room_id, north.matrix_room_id);
  });

  test('is told by those who have the key, of a room id', async () => {
    assertError(await moved('!x:y', {}), 401, 'unauthorized');
    assertError(await moved(5), 422, 'invalid_input');
    assert.deepEqual((await moved('!nobody:here')).json, { is_looking: false });
  });
});

describe('an archived room', () => {
  const city = useCity();
  const set = (room, word, headers = internalHeaders) => city.internal.request('POST',
    `/internal/city/rooms/${room}/${word}`, { headers });

  test('is shown as such, takes no messages, and everybody hears of it; and opens again', async (t) => {
    const user = person(city);
    const room = await user.api.createRoom('Museum');
    await user.api.say(room.id, 'before');
    const socket = await openRoom(city.server, room.slug, user);
    const feed = await openPresence(city.server, makeUser(), { feed: '1' });
    await feed.nextFrame('PresenceSnapshot');
    closing(t, socket, feed);
    const archived = await set(room.slug, 'archive');
    assert.equal(archived.status, 200, archived.text);
    assert.equal(archived.json.archived, true);
    assert.equal((await socket.nextFrame('RoomArchived')).archived, true);
    assert.equal((await feed.nextFrame('RoomChanged')).room.archived, true);
    const told = await feed.nextFrame('FeedEventFrame');
    assert.deepEqual(told.event.payload, { action: 'room_archived', room_name: 'Museum', room_slug: room.slug });
    assert.equal((await city.api.ok('GET', `/api/city/rooms/${room.id}`)).archived, true);
    assertError(await user.api.post(`/api/city/rooms/${room.id}/messages`, { body: 'no' }), 409, 'room_archived');
    socket.send({ event: 'room.message.send', body: 'no', idempotency_key: 'k1' });
    const refused = await socket.nextFrame('RoomError');
    assert.equal(refused.error, 'room_archived');
    assert.equal(refused.idempotency_key, 'k1');
    // Again changes nothing and tells nobody.
    assert.equal((await set(room.id, 'archive')).json.archived, true);
    assert.equal((await set(room.id, 'unarchive')).json.archived, false);
    assert.equal((await feed.nextFrame('RoomChanged')).room.archived, false);
    assert.equal((await feed.nextFrame('FeedEventFrame')).event.payload.action, 'room_opened');
    assert.equal((await socket.nextFrame('RoomArchived')).archived, false);
    await user.api.say(room.id, 'after');
    assert.equal((await socket.nextFrame('RoomMessage')).message.body, 'after');
    await socket.barrier();
    assert.equal(socket.all('RoomArchived').length, 2);
    const events = (await city.api.ok('GET', '/api/city/feed')).filter((event) => event.room_id === room.id
      && event.kind === 'system');
    assert.deepEqual(events.map((event) => event.payload.action), ['room_opened', 'room_archived', 'room_created']);
  });

  test('stays so over a restart', async () => {
    const room = await person(city).api.createRoom('Stays');
    await set(room.id, 'archive');
    await city.server.stop();
    await city.server.start();
    assert.equal((await city.api.ok('GET', `/api/city/rooms/${room.id}`)).archived, true);
  });

  test('needs the key and a room that exists', async () => {
    for (const word of ['archive', 'unarchive']) {
      assertError(await set('general', word, {}), 401, 'unauthorized');
      assertError(await set('nowhere', word), 404, 'room_not_found');
    }
    assert.equal((await city.api.ok('GET', '/api/city/rooms/general')).archived, false);
  });
});
