// A city of a thousand rooms gets its Matrix rooms on a real Synapse, and is killed in the middle of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';
import { after, before, test } from 'node:test';
import { person } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { binary, childEnvironment, INTERNAL_KEY, runBinary } from '../e2e/support/server.mjs';
import { Gateway } from './support/gateway.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const ROOMS = 1000;
const AT_ONCE = 20;
const encode = encodeURIComponent;
const PROGRESS = /^backfill: (\d+) of (\d+) rooms, (\d+) made, (\d+) found, (\d+) failed$/;
let synapse;
let gateway;
let api;
let user;

before(async () => {
  synapse = await Synapse.start('presence: {enabled: false}\n');
  // From before the homeserver.
  gateway = await Gateway.start(synapse, { SYNAPSE_URL: undefined, MATRIX_SERVER_NAME: undefined, MATRIX_TIMEOUT_MS: 20000 });
  api = new Client(gateway.server.publicUrl);
  user = person({ api });
  const wanted = ROOMS - (await api.ok('GET', '/api/city/rooms?limit=500')).length;
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (next < wanted) {
      const n = next;
      next += 1;
      await user.api.createRoom(`Район ${n}`, { slug: `district-${n}` });
    }
  }));
  await gateway.server.stop();
  Object.assign(gateway.server.env, {
    SYNAPSE_URL: synapse.url, MATRIX_SERVER_NAME: synapse.serverName, MATRIX_AS_TOKEN: synapse.asToken,
  });
  await gateway.server.start();
});
after(async () => {
  await gateway?.remove();
  await synapse?.remove();
});

/** Every room of the city. */
async function cityRooms() {
  const rooms = await gateway.client.get('/internal/city/rooms', { headers: { 'X-Internal-API-Key': INTERNAL_KEY } });
  assert.equal(rooms.status, 200, rooms.text);
  return rooms.json;
}

/** Every room of the homeserver, as its administrator sees them. */
async function synapseRooms() {
  const rooms = [];
  for (let from = 0; from !== undefined;) {
    const page = await synapse.ok('GET', `/_synapse/admin/v1/rooms?limit=500&from=${from}`, { token: synapse.adminToken });
    rooms.push(...page.rooms);
    from = page.next_batch;
  }
  return rooms;
}

function environment() {
  return { INTERNAL_PORT: gateway.server.internalPort, INTERNAL_API_KEY: INTERNAL_KEY };
}

test('killed in the middle and begun again, every room has one Matrix room, and no other is there', async (t) => {
  const before = await cityRooms();
  assert.equal(before.length, ROOMS);
  assert.ok(before.every((room) => room.matrix_room_id === null));

  const command = spawn(binary, ['backfill'], { env: childEnvironment(environment()), stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(command, 'close');
  let last;
  for await (const line of readline.createInterface({ input: command.stdout })) {
    last = line.match(PROGRESS)?.slice(1).map(Number);
    assert.ok(last, line);
    if (last[0] >= ROOMS / 3) {
      break;
    }
  }
  // The next page is under way by now: rooms that are asked for and not yet stored.
  const atKill = (await synapse.ok('GET', '/_synapse/admin/v1/rooms?limit=1', { token: synapse.adminToken })).total_rooms;
  await gateway.server.kill();
  assert.equal((await ended)[0], 1, 'the command says that it has not finished');
  assert.ok(atKill >= last[0] && atKill < ROOMS, `${atKill} rooms when killed`);
  assert.equal(last[1], ROOMS);

  await gateway.server.start();
  const left = (await cityRooms()).filter((room) => room.matrix_room_id === null).length;
  assert.ok(left > 0 && left <= ROOMS - last[0], `${left} rooms left`);
  const again = await runBinary(['backfill'], { env: environment(), timeoutMs: 300_000 });
  assert.equal(again.code, 0, again.stderr);
  const lines = again.stdout.trim().split('\n').map((line) => line.match(PROGRESS)?.slice(1).map(Number));
  const [processed, all, made, found, failed] = lines.at(-1);
  assert.deepEqual([processed, all, failed], [left, left, 0]);
  assert.equal(made + found, left);
  assert.ok(lines.every((line, i) => line !== undefined && line[1] === left && (i === 0 || line[0] > lines[i - 1][0])));

  // The homeserver's list follows its events in their order: with the marker in it, it is whole.
  const marker = await synapse.ok('POST', '/_matrix/client/v3/createRoom', { token: synapse.adminToken, json: { room_alias_name: 'marker' } });
  await synapse.ok('PUT', `/_matrix/client/v3/rooms/${encode(marker.room_id)}/state/m.room.topic`, { token: synapse.adminToken, json: { topic: 'marker' } });
  await until('the marker', () => synapse.roomOf(`#marker:${synapse.serverName}`), ({ topic }) => topic === 'marker');
  const [ours, listed] = [await cityRooms(), await synapseRooms()];
  const theirs = listed.filter((room) => room.room_id !== marker.room_id);
  assert.equal(theirs.length, listed.length - 1);
  assert.equal(theirs.length, ROOMS, 'neither orphans nor rooms made twice');
  const byId = new Map(theirs.map((room) => [room.room_id, room]));
  assert.equal(new Set(ours.map((room) => room.matrix_room_id)).size, ROOMS);
  for (const room of ours) {
    assert.ok(byId.has(room.matrix_room_id), room.slug);
    assert.equal(room.matrix_room_alias, `#city_${room.slug}:${synapse.serverName}`);
  }
  // Each alias leads where the city says; a sample, as each is a call.
  for (const room of ours.filter((_, i) => i % 50 === 0)) {
    const { room_id: id } = await synapse.ok('GET', `/_matrix/client/v3/directory/room/${encode(room.matrix_room_alias)}`);
    assert.equal(id, room.matrix_room_id);
  }
  t.diagnostic(`${atKill} of ${ROOMS} rooms when killed; afterwards ${made} made, ${found} found`);
  const nothing = await runBinary(['backfill'], { env: environment() });
  assert.equal(nothing.stdout, 'backfill: 0 of 0 rooms, 0 made, 0 found, 0 failed\n');
});
