// The browser's heartbeat as a real Synapse hears it: what a Matrix user sees who shares a room.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closing } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { goOnline } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import { Gateway } from './support/gateway.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const encode = encodeURIComponent;
const BEAT_MS = 10000; // well within PRESENCE_LEASE_MS
// A homeserver that forgets soon who is not renewed (after last_active_granularity and some seconds; renewals
// come after 20 s), and lets many people join at once.
const EXTRA = `presence: {enabled: true, last_active_granularity: 30s, idle_timeout: 60s}
rc_joins: {local: {per_second: 1000, burst_count: 1000}}
rc_joins_per_room: {per_second: 1000, burst_count: 1000}
rc_message: {per_second: 1000, burst_count: 1000}
`;
const RENEW_MS = 20000; // of who is here: of heartbeat.c
const CITY = { PRESENCE_CLOSE_GRACE_MS: 300, MATRIX_TIMEOUT_MS: 5000 };
let synapse;

before(async () => {
  synapse = await Synapse.start(EXTRA);
});
after(() => synapse?.remove());

class City {
  static async start(t, env = {}) {
    const city = new City();
    city.gateway = await Gateway.start(synapse, { ...CITY, MATRIX_AS_TOKEN: synapse.asToken, ...env });
    t.after(() => city.gateway.remove());
    await city.gateway.untilHealth((h) => h.application_service === 'ok');
    const made = await city.gateway.create(`plaza-${City.rooms += 1}`, 'Plaza');
    assert.equal(made.status, 200, made.text);
    city.room = made.json.matrix_room_id;
    // Who looks: an ordinary Matrix user in the room.
    await city.join(synapse.adminToken);
    return city;
  }

  get server() {
    return this.gateway.server;
  }

  join(token) {
    return synapse.ok('POST', `/_matrix/client/v3/join/${encode(this.room)}`, { token, json: {} });
  }

  /** A person of the city who has a Matrix account and is in the room. */
  async resident() {
    const user = makeUser('Оленка');
    const account = await this.gateway.token({ user_id: user.id });
    await this.join(account.access_token);
    return { ...user, matrix: account.matrix_user_id };
  }

  async seen(user) {
    const path = `/_matrix/client/v3/presence/${encode(user.matrix)}/status`;
    return (await synapse.ok('GET', path, { token: synapse.adminToken })).presence;
  }

  untilSeen(user, presence) {
    return until(`${user.matrix} ${presence}`, () => this.seen(user), (word) => word === presence);
  }

  async metric(name) {
    const { text } = await this.gateway.client.get('/metrics');
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    assert.ok(line, `no ${name}`);
    return Number(line.slice(name.length + 1));
  }

  pushed(outcome) {
    return this.metric(`daarion_matrix_presence_pushed_total{outcome="${outcome}"}`);
  }

  /** So many changes, and what may have been renewed since (performance.now()) on a slow machine. */
  async assertChanges(count, since) {
    const renewals = Math.floor((performance.now() - since) / RENEW_MS);
    const pushed = await this.pushed('ok');
    assert.ok(pushed >= count && pushed <= count + renewals, `${pushed} pushes, ${count} of them changes`);
  }

  untilPushed(outcome, count) {
    return until(`${count} pushes: ${outcome}`, () => this.pushed(outcome), (pushed) => pushed >= count);
  }
}
City.rooms = 0;

/** As the page does: without a beat the lease of a session ends, and its person has gone. */
function beat(t, ...sockets) {
  const beats = setInterval(() => sockets.forEach((socket) => socket.send({ event: 'presence.heartbeat' })), BEAT_MS);
  t.after(() => clearInterval(beats));
}

describe('with the budget of a city', () => {
  test('online, away, offline; and with a second session still online', async (t) => {
    const city = await City.start(t);
    const user = await city.resident();
    assert.equal(await city.seen(user), 'offline');
    const from = performance.now();
    const first = await goOnline(city.server, user);
    closing(t, first);
    await city.untilSeen(user, 'online');
    first.send({ event: 'presence.heartbeat', status: 'away' });
    await city.untilSeen(user, 'unavailable');
    const second = await goOnline(city.server, user);
    closing(t, second);
    await city.untilSeen(user, 'online');
    await first.close();
    await city.untilPushed('ok', 3);
    second.send({ event: 'presence.heartbeat', status: 'away' });
    await city.untilSeen(user, 'unavailable'); // the first one's end alone has told nothing
    await city.untilPushed('ok', 4);
    await city.assertChanges(4, from);
    await second.close();
    await city.untilSeen(user, 'offline');
  });

  test('a page that is closed says so itself: a dead socket keeps nobody here', async (t) => {
    const city = await City.start(t);
    const user = await city.resident();
    const api = new Client(city.server.publicUrl).as(user);
    const page = await goOnline(city.server, user, { parameters: { page: 'tab-1' } });
    const other = await goOnline(city.server, user, { parameters: { page: 'tab-2' } });
    closing(t, page, other);
    await city.untilSeen(user, 'online');
    // Both sockets stay open: nobody but the request says that the tab has gone.
    assert.deepEqual(await api.ok('POST', '/api/city/presence/leave', { page: 'tab-1' }), { ok: true });
    other.send({ event: 'presence.heartbeat', status: 'away' });
    await city.untilSeen(user, 'unavailable');
    await api.ok('POST', '/api/city/presence/leave', { page: 'tab-2' });
    await city.untilSeen(user, 'offline');
    // A page that lives on after all is here again with its next beat.
    page.send({ event: 'presence.heartbeat' });
    await city.untilSeen(user, 'online');
  });

  test('who stays is renewed for longer than the homeserver remembers', async (t) => {
    const city = await City.start(t);
    const [stays, reference] = [await city.resident(), await city.resident()];
    const socket = await goOnline(city.server, stays);
    beat(t, socket);
    closing(t, socket);
    await city.untilSeen(stays, 'online');
    // Told once, by nobody who repeats it: how long the homeserver remembers.
    const told = await city.gateway.post('presence/online', { user_id: reference.id });
    assert.equal(told.status, 200, told.text);
    const seenMeanwhile = async (ask) => {
      assert.equal(await city.seen(stays), 'online');
      return ask();
    };
    await until('who does not beat is forgotten', () => seenMeanwhile(() => city.seen(reference)), (word) => word === 'offline');
    assert.ok(await city.pushed('ok') >= 2, 'renewed meanwhile');
    const since = await city.pushed('ok');
    await until('one more renewal', () => seenMeanwhile(() => city.pushed('ok')), (pushed) => pushed > since);
  });

  test('a guest without an account costs one look, and the homeserver nothing', async (t) => {
    const city = await City.start(t);
    const user = makeUser('Гість');
    const socket = await goOnline(city.server, user);
    closing(t, socket);
    await city.untilPushed('no_account', 1);
    for (const status of ['away', 'online']) { // nobody looks again for some minutes
      socket.send({ event: 'presence.heartbeat', status });
      await socket.nextFrame((frame) => frame.event === 'presence.update' && frame.status === status);
    }
    const other = await city.resident();
    const from = performance.now();
    const second = await goOnline(city.server, other);
    closing(t, second);
    await city.untilPushed('ok', 1);
    assert.equal(await city.pushed('no_account'), 1);
    await city.assertChanges(1, from);
  });

  test('a homeserver that is away is told when it is back, and the city goes on', async (t) => {
    const city = await City.start(t, { MATRIX_TIMEOUT_MS: 1000 });
    const user = await city.resident();
    const watcher = await goOnline(city.server, makeUser('Спостерігач'));
    closing(t, watcher);
    await synapse.control('stop');
    const socket = await goOnline(city.server, user);
    closing(t, socket);
    await watcher.nextFrame((frame) => frame.event === 'presence.update' && frame.user_id === user.id);
    await city.server.waitForEvent((event) => event.event === 'presence.push_failing');
    await synapse.control('start');
    await city.untilSeen(user, 'online');
    await city.server.waitForEvent((event) => event.event === 'presence.push_works', 20000);
  });
});

test('when the budget is spent the city stays exact and the log says what is held back', async (t) => {
  const city = await City.start(t, { MATRIX_PRESENCE_PER_S: 1 });
  const people = [];
  for (let i = 0; i < 20; i += 1) {
    people.push(await city.resident());
  }
  const watcher = await goOnline(city.server, makeUser('Спостерігач'));
  closing(t, watcher);
  const sockets = await Promise.all(people.map((user) => goOnline(city.server, user)));
  beat(t, ...sockets.slice(0, 10));
  closing(t, ...sockets);
  // The city's own presence has everybody while the homeserver has been told of few.
  const missing = new Set(people.map((user) => user.id));
  while (missing.size > 0) {
    const frame = await watcher.nextFrame((one) => one.event === 'presence.update' && missing.has(one.user_id));
    assert.equal(frame.status, 'online');
    missing.delete(frame.user_id);
  }
  assert.ok(await city.pushed('ok') < 20);
  const held = await city.server.waitForEvent((event) => event.event === 'presence.push_held_back');
  assert.ok(held.changes >= 1 && held.changes < 20, JSON.stringify(held));
  assert.ok(held.oldest_ms >= 1000);
  assert.match(held.why, /MATRIX_PRESENCE_PER_S/);
  // Half of them go before the homeserver has heard of them: it never does.
  const gone = people.slice(10);
  await Promise.all(sockets.slice(10).map((socket) => socket.close()));
  for (const user of people.slice(0, 10)) {
    await city.untilSeen(user, 'online');
  }
  await city.server.waitForEvent((event) => event.event === 'presence.push_caught_up', 30000);
  for (const user of gone) {
    assert.equal(await city.seen(user), 'offline');
  }
  const said = city.server.events.filter((event) => event.event === 'presence.push_held_back').map(({ ts }) => Date.parse(ts));
  assert.ok(said.every((at, i) => i === 0 || at - said[i - 1] >= 9_900), `at most every ten seconds: ${said}`);
});

test('a gateway that is an administrator cannot speak for residents: said once, and nothing is harmed', async (t) => {
  const gateway = await Gateway.start(synapse, { ...CITY, SYNAPSE_ADMIN_TOKEN: synapse.adminToken });
  t.after(() => gateway.remove());
  const user = makeUser('Оленка');
  const socket = await goOnline(gateway.server, user);
  closing(t, socket);
  const off = await gateway.server.waitForEvent((event) => event.event === 'presence.push_off');
  assert.match(off.why, /MATRIX_AS_TOKEN/);
});
