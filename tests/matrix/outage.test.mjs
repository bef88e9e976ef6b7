// A real Synapse that is away: nothing half-made is left behind, and backfill repairs what was made without it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { internalHeaders, person } from '../e2e/support/city.mjs';
import { assertError, Client } from '../e2e/support/http.mjs';
import { startServer } from '../e2e/support/server.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

let synapse;
let server;
let api;
let internal;

before(async () => {
  synapse = await Synapse.start('# one of its own: it is stopped, and knows no room yet\n');
  await synapse.control('stop');
  server = await startServer({
    SYNAPSE_URL: synapse.url,
    MATRIX_SERVER_NAME: synapse.serverName,
    MATRIX_AS_TOKEN: synapse.asToken,
    MATRIX_CHECK_INTERVAL_MS: 200,
  });
  api = new Client(server.publicUrl);
  internal = new Client(server.internalUrl);
});
after(async () => {
  await server?.remove();
  await synapse?.remove();
});

const alias = (slug) => `#city_${slug}:${synapse.serverName}`;
const backfill = () => internal.ok('POST', '/internal/city/matrix/backfill', undefined, { headers: internalHeaders });

const untilHealth = (word) => until(`synapse ${word}`, () => internal.ok('GET', '/healthz'), ({ synapse: is }) => is === word);

test('stopped: a room is refused and nothing is left behind; started: rooms are made, and backfill repairs', async () => {
  const user = person({ api });
  await untilHealth('unavailable');
  assertError(await user.api.post('/api/city/rooms', { name: 'Кав’ярня', slug: 'cafe' }), 503, 'matrix_unavailable');
  assert.equal((await api.get('/api/city/rooms/cafe')).status, 404);
  const alone = await api.ok('GET', '/api/city/rooms');
  assert.deepEqual(alone.map((room) => room.matrix_room_id), [null, null, null]); // the default rooms stand all the same
  const vain = await backfill();
  assert.deepEqual([vain.processed, vain.failed], [3, 3]);

  await synapse.control('start');
  await untilHealth('connected');
  const made = await user.api.createRoom('Кав’ярня', { slug: 'cafe' });
  const room = await synapse.describedRoomOf(alias('cafe'));
  assert.equal(room.room_id, made.matrix_room_id);
  assert.equal(room.name, 'DAARION City — Кав’ярня');
  const repaired = await backfill();
  assert.deepEqual([repaired.processed, repaired.created, repaired.failed], [3, 3, 0]);
  const rooms = await api.ok('GET', '/api/city/rooms');
  for (const { slug, matrix_room_id: id, matrix_room_alias: name } of rooms) {
    assert.equal(name, alias(slug));
    assert.equal((await synapse.describedRoomOf(name)).room_id, id);
  }

  await synapse.control('stop');
  await untilHealth('unavailable');
  assertError(await user.api.post('/api/city/rooms', { name: 'Пошта', slug: 'post' }), 503, 'matrix_unavailable');
  assert.equal((await api.get('/api/city/rooms/post')).status, 404);
  await synapse.control('start');
  await untilHealth('connected');
  const later = await user.api.createRoom('Пошта', { slug: 'post' });
  assert.equal((await synapse.describedRoomOf(alias('post'))).room_id, later.matrix_room_id);
});
