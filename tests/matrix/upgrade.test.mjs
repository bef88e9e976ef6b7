// A Matrix room that is upgraded: the city follows to the one that replaces it, with chat and presence. And one that
// is deleted: it is made again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closing, internalHeaders, person } from '../e2e/support/city.mjs';
import { openPresence, openRoom } from '../e2e/support/sockets.mjs';
import { Push } from './support/push.mjs';
import { MatrixCity, NO_LIMITS, Resident } from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const encode = encodeURIComponent;
let synapse;
let push;
let city;
let anna; // with a Matrix client

before(async () => {
  push = await new Push().listen();
  synapse = await Synapse.start(NO_LIMITS, undefined, push.url);
  city = await MatrixCity.start(synapse, { MATRIX_HS_TOKEN: synapse.hsToken });
  push.target = city.server.internalUrl;
  await city.listening();
  anna = await Resident.register(synapse, 'anna');
});
after(async () => {
  await city?.remove();
  await synapse?.remove();
  await push?.close();
});

/** As the city's own account, which made the room; returns the new room. */
async function upgrade(roomId) {
  const answer = await synapse.call('POST', `/_matrix/client/v3/rooms/${encode(roomId)}/upgrade`, {
    token: synapse.asToken, json: { new_version: '10' },
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.json));
  return answer.json.replacement_room;
}

/** The city's row of a room, once it is another Matrix room. */
const untilMoved = (slug, to) => until(`moved to ${to}`, () => city.room(slug), (room) => room.matrix_room_id === to, { limitMs: 30_000 });

const messages = async (room) => (await synapse.ok('GET',
  `/_matrix/client/v3/rooms/${encode(room)}/messages?dir=b&limit=20`, { token: anna.token })).chunk
  .filter((event) => event.type === 'm.room.message').map((event) => event.content.body);

test('its tombstone is enough: chat goes both ways in the new room, and who is there counts', async (t) => {
  const olena = person(city, 'Олена');
  const old = await city.room('general');
  await anna.join(old.matrix_room_id);
  await anna.presence('online');
  const room = await openRoom(city.server, old.slug, olena, { join: true });
  const presence = await openPresence(city.server, olena, { mode: 'rooms' });
  closing(t, room, presence);
  const counts = (count) => presence.nextFrame((frame) => {
    const entry = frame.type === 'snapshot' ? frame.rooms.find(({ room_slug: slug }) => slug === 'general') : frame;
    return entry?.room_slug === 'general' && entry.online_count === count;
  }, 20_000);
  await counts(2);

  const fresh = await upgrade(old.matrix_room_id);
  const moved = await untilMoved('general', fresh);
  assert.equal(moved.matrix_room_alias, old.matrix_room_alias);
  const shown = (await city.api.ok('GET', '/api/city/rooms')).find((entry) => entry.slug === 'general');
  assert.equal(shown.matrix_room_id, fresh);

  await counts(1); // Anna has not come with it
  await anna.join(fresh);
  await counts(2);
  await anna.ok('PUT', `/rooms/${encode(fresh)}/send/m.room.message/t1`, { msgtype: 'm.text', body: 'тут' });
  const heard = await room.nextFrame((frame) => frame.event === 'room.message', 20_000);
  assert.deepEqual([heard.message.body, heard.message.author_user_id], ['тут', anna.id]);
  await olena.api.say('general', 'і я тут');
  await until('the message in the new room', () => messages(fresh), (said) => said.includes('і я тут'), { limitMs: 20_000 });
  await anna.presence('offline');
  await counts(1);
});

test('without the tombstone, a refusal in the old room is enough', async () => {
  const olena = person(city, 'Олена');
  // Nobody is in this room who could tell of it: the daemon is thrown out and may not come back.
  const old = await city.room('welcome');
  await synapse.ok('POST', `/_matrix/client/v3/rooms/${encode(old.matrix_room_id)}/ban`,
    { token: synapse.asToken, json: { user_id: city.daemon.id } });
  await city.until((matrix) => matrix.rooms_unknown === 1);
  const fresh = await upgrade(old.matrix_room_id);
  await olena.api.say('welcome', 'чи чує мене хтось?');
  await untilMoved('welcome', fresh);
  await anna.join(fresh);
  await olena.api.say('welcome', 'тепер чують');
  const deadline = performance.now() + 20_000;
  while (!(await messages(fresh)).includes('тепер чують')) {
    assert.ok(performance.now() < deadline, 'the message has not reached the new room');
  }
});

test('a room that somebody else has put in the place of ours is not taken', async () => {
  const old = await city.room('builders');
  const stranger = await anna.ok('POST', '/createRoom', { preset: 'public_chat' });
  await synapse.ok('PUT', `/_matrix/client/v3/rooms/${encode(old.matrix_room_id)}/state/m.room.tombstone/`, {
    token: synapse.asToken, json: { body: 'moved', replacement_room: stranger.room_id },
  });
  const alias = `/_matrix/client/v3/directory/room/${encode(old.matrix_room_alias)}`;
  await synapse.ok('DELETE', alias, { token: synapse.asToken });
  await synapse.ok('PUT', alias, { token: synapse.asToken, json: { room_id: stranger.room_id } });
  const answer = await city.internal.ok('POST', '/internal/city/matrix/moved',
    { matrix_room_id: old.matrix_room_id }, { headers: internalHeaders });
  assert.deepEqual(answer, { is_looking: true });
  const line = await city.server.waitForEvent((entry) => entry.event === 'city.matrix_room_not_moved');
  assert.deepEqual([line.room, line.code], ['builders', 'alias_taken']);
  assert.equal((await city.room('builders')).matrix_room_id, old.matrix_room_id);
});

test('a room that the administrator has deleted is made again: what is said is heard there', async () => {
  const taras = person(city, 'Тарас');
  const old = await taras.api.createRoom('Сад', { slug: 'garden' });
  await taras.api.say('garden', 'до');
  await anna.join(old.matrix_room_id);
  await until('said', () => messages(old.matrix_room_id), (bodies) => bodies.includes('до'));
  const { delete_id: id } = await synapse.ok('DELETE', `/_synapse/admin/v2/rooms/${encode(old.matrix_room_id)}`,
    { token: synapse.adminToken, json: { purge: true, force_purge: true } });
  await until('deleted', () => synapse.ok('GET', `/_synapse/admin/v2/rooms/delete_status/${id}`, { token: synapse.adminToken }),
    ({ status }) => status === 'complete');
  await taras.api.say('garden', 'сам у саду');
  const now = await until('another room', () => city.room('garden'), (room) => room.matrix_room_id !== old.matrix_room_id);
  assert.equal(now.matrix_room_alias, old.matrix_room_alias);
  await anna.join(now.matrix_room_id);
  await until('said there', () => messages(now.matrix_room_id), (bodies) => bodies.includes('сам у саду'));
  await anna.ok('PUT', `/rooms/${encode(now.matrix_room_id)}/send/m.room.message/again`, { msgtype: 'm.text', body: 'я теж тут' });
  await until('heard', () => taras.api.history('garden'), (history) => history.some(({ body }) => body === 'я теж тут'));
});
