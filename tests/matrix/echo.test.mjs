// Presence goes both ways: what the homeserver says of people whom the city has told it of is not taken for news.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closing, internalHeaders, person } from '../e2e/support/city.mjs';
import { goOnline, openPresence } from '../e2e/support/sockets.mjs';
import {
  MatrixCity, NO_LIMITS, Resident, STEADY,
} from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const encode = encodeURIComponent;
let synapse;
let city;

before(async () => {
  synapse = await Synapse.start(NO_LIMITS + STEADY);
  city = await MatrixCity.start(synapse, { PRESENCE_CLOSE_GRACE_MS: 300 });
  await city.listening();
  synapse.room = (await city.room('general')).matrix_room_id;
  await synapse.ok('POST', `/_matrix/client/v3/join/${encode(synapse.room)}`, { token: synapse.adminToken, json: {} });
});
after(async () => {
  await city?.remove();
  await synapse?.remove();
});

/** A person of the city with an account, in the room where the daemon listens; `client` is his other Matrix client. */
async function resident(name) {
  const user = person(city, name);
  const made = await city.internal.post('/internal/matrix/users/token', { user_id: user.id }, { headers: internalHeaders });
  assert.equal(made.status, 200, made.text);
  user.client = Object.assign(new Resident(), { synapse, id: made.json.matrix_user_id, token: made.json.access_token });
  await user.client.join(synapse.room);
  return user;
}

async function seen(user) {
  const path = `/_matrix/client/v3/presence/${encode(user.client.id)}/status`;
  return (await synapse.ok('GET', path, { token: synapse.adminToken })).presence;
}

const untilSeen = (user, presence) => until(`${user.client.id} ${presence}`, () => seen(user), (word) => word === presence);

async function watch(t) {
  const socket = await openPresence(city.server, person(city), { mode: 'heartbeat' });
  closing(t, socket);
  return socket;
}

const update = (user, status) => (frame) => frame.event === 'presence.update' && frame.user_id === user.id
  && frame.status === status;
const words = (socket, user) => socket.frames.map(({ frame }) => frame)
  .filter((frame) => frame.event === 'presence.update' && frame.user_id === user.id).map((frame) => frame.status);

test('who closes his page is gone for good; who has another Matrix client is here again', async (t) => {
  const [alone, both] = [await resident('Аліса'), await resident('Богдан')];
  const watcher = await watch(t);
  const pages = [await goOnline(city.server, alone), await goOnline(city.server, both)];
  closing(t, ...pages);
  await untilSeen(alone, 'online');
  await untilSeen(both, 'online');
  await both.client.presence('online');
  await Promise.all(pages.map((socket) => socket.close()));
  await watcher.nextFrame(update(both, 'offline'));
  await watcher.nextFrame(update(both, 'online'), 20_000); // once our own word has died away
  await until('both words', () => words(watcher, alone), ({ length }) => length >= 2);
  await untilSeen(alone, 'offline');
  assert.deepEqual(words(watcher, alone), ['online', 'offline']);
  assert.deepEqual(words(watcher, both), ['online', 'offline', 'online']);
  assert.equal(await seen(both), 'online');
  await both.client.presence('offline');
  await watcher.nextFrame(update(both, 'offline'), 20_000);
});

test('a city that is killed leaves no ghost: the next leader tells the homeserver who is gone', async (t) => {
  const user = await resident('Ганна');
  const page = await goOnline(city.server, user);
  closing(t, page);
  await untilSeen(user, 'online');
  await city.server.kill();
  await city.server.start();
  const watcher = await watch(t);
  await city.listening();
  await untilSeen(user, 'offline'); // the homeserver itself would remember him for an hour
  // Somebody who comes afterwards is heard as ever.
  const other = await resident('Данило');
  await other.client.presence('online');
  await watcher.nextFrame(update(other, 'online'), 20_000);
  assert.ok(!words(watcher, user).includes('online'), JSON.stringify(words(watcher, user)));
});
