// The acceptance criteria of specs/global-presence-aggregator.md §9, one test each, named by its line: a real
// Synapse, the real NATS and Redis, the aggregator as a process of its own beside the city. The two lines about the UI
// are in tests/browser/acceptance-presence.test.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Nats, Redis } from '../e2e/support/backends.mjs';
import { closing, internalHeaders, person } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { Server, temporaryDirectory } from '../e2e/support/server.mjs';
import { goOnline, openPresence } from '../e2e/support/sockets.mjs';
import { NatsListener } from './support/nats.mjs';
import {
  MatrixCity, NO_LIMITS, Resident, STEADY,
} from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

let synapse;
let nats;
let redis;
let city;
let aggregator;
let general;
let olena;

before(async () => {
  [synapse, nats, redis] = await Promise.all([Synapse.start(NO_LIMITS + STEADY), Nats.open(), Redis.open()]);
  city = await MatrixCity.start(synapse, { NATS_URL: nats.url, REDIS_URL: redis.url });
  await city.listening();
  general = await city.room('general');
  olena = await Resident.register(synapse, 'olena');
  await olena.join(general.matrix_room_id);
});
after(async () => {
  await aggregator?.remove();
  await city?.remove();
  await Promise.all([nats?.remove(), redis?.remove()]);
  await synapse?.remove();
});

const counts = (frame) => (frame.type === 'snapshot'
  ? frame.rooms.find((room) => room.room_slug === 'general')
  : frame.type === 'room.presence' && frame.room_slug === 'general' && frame);

async function watch(t) {
  const socket = await openPresence(city.server, person(city), { mode: 'rooms' });
  closing(t, socket);
  return socket;
}

test('matrix-presence-aggregator запущений і синхронізується з Matrix', async () => {
  aggregator = new Server({
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    MATRIX_HS_URL: synapse.url, // the name of the specification
    MATRIX_ACCESS_TOKEN: city.daemon.token,
    MATRIX_USER_ID: city.daemon.id,
    CITY_SERVICE_INTERNAL_URL: city.server.internalUrl,
    ROOM_PRESENCE_THROTTLE_MS: 100,
  }, temporaryDirectory(), { args: ['matrix-presence-aggregator'] });
  await aggregator.start();
  const client = new Client(aggregator.internalUrl);
  await until('an aggregator that listens in all rooms', () => client.ok('GET', '/status', undefined, { headers: internalHeaders }), (status) => {
    const matrix = status.sources.find((source) => source.name === 'matrix');
    return status.sync_running && matrix.state === 'fresh' && matrix.rooms === 3 && matrix.rooms_unknown === 0;
  });
  const health = await fetch(`${aggregator.internalUrl}/health`); // the city's path too, so no client of the contract
  assert.equal((await health.json()).status, 'healthy');
});

test('NATS отримує події city.presence.room.*', async (t) => {
  const rooms = await NatsListener.open(nats.url, 'city.presence.room.*');
  const users = await NatsListener.open(nats.url, 'city.presence.user.*');
  t.after(() => [rooms, users].forEach((listener) => listener.close()));
  await olena.presence('online');
  await olena.typing(general.matrix_room_id, true);
  const room = await rooms.next(({ json }) => json.room_slug === 'general' && json.online_count === 1 && json.typing_count === 1);
  assert.equal(room.subject, 'city.presence.room.general');
  const { type, matrix_room_id: id, matrix_room_alias: alias, typing_users: typing, last_event_ts: at } = room.json;
  assert.deepEqual({ type, id, alias, typing }, {
    type: 'room.presence', id: general.matrix_room_id, alias: `#city_general:${synapse.serverName}`, typing: [olena.id],
  });
  assert.ok(Number.isInteger(at) && Math.abs(Date.now() - at) < 60_000);
  const user = await users.next(({ json }) => json.matrix_user_id === olena.id && json.status === 'online');
  assert.equal(user.subject, 'city.presence.user.olena');
  assert.equal(user.json.type, 'user.presence');
  assert.ok(Number.isInteger(user.json.last_active_ts));
  await olena.typing(general.matrix_room_id, false);
  await olena.presence('offline');
  await rooms.next(({ json }) => json.room_slug === 'general' && json.online_count === 0 && json.typing_count === 0);
});

test('city-service має endpoint /ws/city/presence', async () => {
  const socket = await openPresence(city.server, person(city));
  socket.terminate();
  const refused = await openPresence(city.server, { token: 'nobody' });
  assert.equal((await refused.waitClosed()).code, 4401);
});

test('При підключенні WS клієнт отримує snapshot', async (t) => {
  const socket = await watch(t);
  const snapshot = await socket.nextFrame((frame) => frame.type === 'snapshot');
  assert.deepEqual(snapshot.rooms.map((room) => room.room_slug).sort(), ['builders', 'general', 'welcome']);
  for (const room of snapshot.rooms) {
    assert.deepEqual([room.online_count, room.typing_count], [0, 0]);
  }
});

test('При зміні presence клієнт отримує update', async (t) => {
  const socket = await watch(t);
  await olena.presence('online');
  await socket.nextFrame((frame) => counts(frame)?.online_count === 1, 20_000);
  await olena.typing(general.matrix_room_id, true);
  await socket.nextFrame((frame) => counts(frame)?.typing_count === 1, 20_000);
  await olena.typing(general.matrix_room_id, false);
  await socket.nextFrame((frame) => counts(frame)?.typing_count === 0, 20_000);
  await olena.presence('offline');
  await socket.nextFrame((frame) => counts(frame)?.online_count === 0, 20_000);
});

test('another aggregator takes over from one that is killed, and nobody is offline for it', async (t) => {
  // The leader is to be the process that is killed: the city's own one stands by.
  const lead = async (client, target) => (await client.ok('GET', target, undefined, { headers: internalHeaders })).role;
  const alone = new Client(aggregator.internalUrl);
  await city.server.stop();
  await until('another leader', () => lead(alone, '/status'), (role) => role === 'leader');
  await city.server.start();
  await city.listening();
  assert.equal(await lead(city.internal, '/internal/presence/status'), 'standby');
  await olena.presence('online');
  const socket = await watch(t);
  await socket.nextFrame((frame) => counts(frame)?.online_count === 1, 20_000);
  closing(t, await goOnline(city.server, person(city)));
  const petro = await Resident.register(synapse, 'petro'); // which takes a homeserver its time
  await petro.join(general.matrix_room_id);
  await aggregator.kill();
  fs.rmSync(aggregator.dataDir, { recursive: true, force: true });
  aggregator = undefined;
  const killedAt = performance.now();
  await petro.presence('online');
  await socket.nextFrame((frame) => counts(frame)?.online_count === 2, 20_000);
  assert.ok(performance.now() - killedAt < 10_000, 'within ten seconds');
  const seen = socket.frames.map(({ frame }) => counts(frame)).filter(Boolean).map((frame) => frame.online_count);
  assert.deepEqual(seen.slice(seen.indexOf(1)), [1, 2]);
});
