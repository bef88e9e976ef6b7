// city-service run alone: its native paths (/city/...) beside those under /api, one and the same city. Over a stack
// the two are asked for at different replicas, past nginx, which does not pass the native ones on.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closing, internalHeaders } from './support/city.mjs';
import { openapi } from './support/contract.mjs';
import { assertError, Client } from './support/http.mjs';
import { hasReplicas, openBackends, Server, startServer, temporaryDirectory } from './support/server.mjs';
import { goOnline, openRoom } from './support/sockets.mjs';
import { makeUser } from './support/tokens.mjs';

const skip = process.env.E2E_BACKENDS !== 'real' && 'a role alone needs shared backends: run over real ones';
/** Every public path that openapi.yaml says is served natively too: [under /api, native]. */
const pairs = Object.entries(openapi.paths).filter(([path]) => path.startsWith('/api/')).flatMap(([path, item]) => (
  (item['x-aliases'] ?? []).filter((alias) => alias.startsWith('/city/')).map((alias) => [path, alias, item])));

describe('city-service alone', { skip }, () => {
  let city;
  let user;
  let api;
  let elsewhere; // another replica, if there is one
  const owned = [];
  before(async () => {
    user = makeUser('Сусідка');
    if (hasReplicas) {
      const { replicas } = await startServer();
      [city] = replicas;
      elsewhere = new Client(replicas[1].publicUrl, user);
    } else {
      const backends = await openBackends();
      const role = (name) => new Server(backends.env, temporaryDirectory(), { args: [name] });
      city = role('city-service');
      const aggregator = role('matrix-presence-aggregator');
      owned.push(city, aggregator, ...backends.owned);
      await Promise.all([city.start(), aggregator.start()]);
      elsewhere = new Client(city.publicUrl, user);
    }
    api = new Client(city.publicUrl, user);
  });
  after(async () => {
    for (const thing of owned) {
      await thing.remove();
    }
  });

  test('a room made on the native path is a room under /api, and the other way round', async () => {
    const native = await api.ok('POST', '/city/rooms', { name: 'Рідна', slug: 'native' });
    const other = await elsewhere.ok('POST', '/api/city/rooms', { name: 'Інша', slug: 'other' });
    assert.equal((await elsewhere.ok('GET', '/api/city/rooms/native')).id, native.id);
    assert.equal((await api.ok('GET', '/city/rooms/other')).id, other.id);
    assertError(await api.post('/city/rooms', { name: 'Ще', slug: 'native' }), 409, 'slug_taken');
  });

  test('what is said, joined and left natively is heard by the sockets of the room', async (t) => {
    const socket = await openRoom(city, 'general', makeUser());
    closing(t, socket);
    await api.ok('POST', '/city/rooms/general/join', {});
    await socket.nextFrame((frame) => frame.event === 'room.join' && frame.user_id === user.id);
    const message = await api.ok('POST', '/city/rooms/general/messages', { body: 'рідною стежкою' });
    assert.deepEqual((await socket.nextFrame('RoomMessage')).message, message);
    await api.ok('POST', '/city/rooms/general/leave', {});
    await socket.nextFrame((frame) => frame.event === 'room.leave' && frame.user_id === user.id);
    const page = await api.ok('GET', '/city/rooms/general/messages?limit=1');
    assert.deepEqual(page.items, [message]);
    const feed = await api.ok('GET', '/city/feed?limit=5');
    assert.ok(feed.some(({ payload }) => payload.message_id === message.id));
    closing(t, await goOnline(city, user));
  });

  test('every documented native path answers what its twin under /api answers', async () => {
    assert.ok(pairs.length >= 6, `${pairs.length} pairs`);
    for (const [path, alias, item] of pairs) {
      const at = (form) => form.replace(/\{[^}]+\}/g, 'general');
      const methods = ['get', 'post', 'put', 'patch', 'delete'].filter((method) => item[method]);
      for (const method of methods) {
        // Nobody: reads answer, writes are refused, and neither changes anything.
        const nobody = new Client(city.publicUrl);
        const [one, two] = await Promise.all([path, alias].map((form) => nobody.request(method.toUpperCase(), at(form))));
        assert.equal(one.status, two.status, `${method} ${alias}`);
        assert.notEqual(one.json?.error, 'not_found', `${method} ${alias}`);
        assert.deepEqual(Object.keys(one.json ?? {}), Object.keys(two.json ?? {}), `${method} ${alias}`);
      }
    }
  });

  test('errors of native paths are those of the documents, and what is not there is 404', async () => {
    assertError(await api.get('/city/rooms/nowhere'), 404, 'room_not_found');
    assertError(await api.request('DELETE', '/city/rooms'), 405, 'method_not_allowed');
    assertError(await new Client(city.publicUrl).post('/city/rooms/general/messages', { body: 'x' }), 401, 'unauthorized');
    assertError(await api.post('/city/rooms/general/messages', { body: 'x', user_id: 'u_2' }), 403, 'user_mismatch');
    for (const path of ['/city/nothing', '/', '/city', '/api/nothing']) {
      assertError(await api.get(path), 404, 'not_found');
    }
    assertError(await api.get('/internal/city/rooms', { headers: internalHeaders }), 404, 'not_found');
    assert.deepEqual(await api.ok('GET', '/health'), { status: 'healthy', service: 'city-service' });
  });
});
