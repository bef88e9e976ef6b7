// Health and metrics, what the internal listener alone serves, and its key.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { closing, internalHeaders, newRoom, person, settled, useCity } from './support/city.mjs';
import { assertError, Client } from './support/http.mjs';
import { exchange } from './support/raw.mjs';
import { openRoom } from './support/sockets.mjs';
import { INTERNAL_KEY, notOverStack, startServer } from './support/server.mjs';

const city = useCity();

describe('health', () => {
  test('/health answers on the public listener', async () => {
    assert.deepEqual(await city.api.ok('GET', '/health'), { status: 'healthy', service: 'city-service' });
  });

  test('/livez, /readyz and /healthz answer on both listeners', async () => {
    for (const client of [city.api, city.internal]) {
      assert.deepEqual(await client.ok('GET', '/livez'), { status: 'ok' });
      const ready = await client.ok('GET', '/readyz');
      assert.equal(ready.status, 'ok');
      assert.equal(ready.checks.db.status, 'ok');
      const detail = await client.ok('GET', '/healthz');
      assert.deepEqual(detail.checks, ready.checks);
      assert.ok(detail.version.length > 0);
      assert.ok(detail.uptime_s >= 0);
    }
  });

  test('readiness is not cached', async () => {
    for (const pathname of ['/readyz', '/healthz']) {
      const { headers } = await city.api.get(pathname);
      assert.match(headers['cache-control'] ?? '', /no-store|no-cache/, pathname);
    }
  });
});

describe('metrics', () => {
  test('they are Prometheus text on the internal listener', async () => {
    const { text, headers, status } = await city.internal.get('/metrics');
    assert.equal(status, 200);
    assert.match(headers['content-type'], /^text\/plain; ?version=0\.0\.4/);
    const types = new Map();
    for (const line of text.split('\n')) {
      if (line.startsWith('# TYPE ')) {
        const [, , name, type] = line.split(' ');
        assert.ok(!types.has(name), `${name} has one TYPE line`);
        types.set(name, type);
      } else if (line !== '' && !line.startsWith('#')) {
        assert.match(line, /^[a-zA-Z_:][\w:]*(\{[a-zA-Z_]\w*="(\\.|[^"\\])*"(,[a-zA-Z_]\w*="(\\.|[^"\\])*")*,?\})? (NaN|[+-]Inf|[-+]?[\d.]+(e[-+]?\d+)?)$/);
        const name = line.match(/^[\w:]+/)[0];
        const family = name.replace(/_(bucket|sum|count)$/, '');
        assert.ok(types.has(name) || types.get(family) === 'histogram', `${name} has a TYPE line before it`);
      }
    }
    assert.ok([...types.keys()].some((name) => name.startsWith('daarion_')));
  });

  test('they name no user, no room and no token', async (t) => {
    const user = person(city, 'Таємна Людина');
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    await user.api.say(room.slug, 'таємниця');
    const { text } = await city.internal.get('/metrics');
    for (const secret of [user.id, user.token, room.slug, 'Таємна', 'таємниця', INTERNAL_KEY]) {
      assert.ok(!text.includes(secret), secret);
    }
  });

  test('they are not on the public listener', { skip: notOverStack('nginx answers') }, async () => {
    assertError(await city.api.get('/metrics'), 404, 'not_found');
    assertError(await city.api.get('/metrics', { headers: internalHeaders }), 404, 'not_found');
  });
});

describe('/internal/city/rooms', () => {
  test('it lists every room for who has the key, in either header', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    for (const name of ['X-Internal-API-Key', 'X-Internal-Service-Token']) {
      const list = await settled(async () => {
        const rooms = await user.api.ok('GET', '/api/city/rooms?limit=500');
        const known = await city.internal
          .ok('GET', '/internal/city/rooms', undefined, { headers: { [name]: INTERNAL_KEY } });
        assert.deepEqual(known.map((entry) => entry.slug).sort(), rooms.map((entry) => entry.slug).sort());
        return known;
      });
      const entry = list.find((other) => other.id === room.id);
      assert.equal(entry.matrix_room_id, null);
      assert.equal(entry.matrix_room_alias, null);
    }
  });

  test('without the key, with a wrong one or part of it, it is refused', async () => {
    for (const headers of [{}, { 'X-Internal-API-Key': '' }, { 'X-Internal-API-Key': 'wrong' },
      { 'X-Internal-API-Key': INTERNAL_KEY.slice(0, -1) }, { 'X-Internal-API-Key': `${INTERNAL_KEY}x` },
      { Authorization: `Bearer ${INTERNAL_KEY}` }]) {
      assertError(await city.internal.get('/internal/city/rooms', { headers }), 401, 'unauthorized');
    }
  });

  test('it is not on the public listener, not even with the key', { skip: notOverStack('nginx answers') }, async () => {
    const response = await city.api.get('/internal/city/rooms', { headers: internalHeaders });
    assertError(response, 404, 'not_found');
  });

  test('the city itself is not on the internal listener', async () => {
    for (const pathname of ['/api/city/rooms', '/ws/city/presence', '/presence/summary', '/api/auth/me']) {
      const request = `GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`;
      assertError(await exchange(city.server.internalPort, request), 404, 'not_found');
    }
  });

  const needsUp = notOverStack('only `daarion up` makes secrets');
  test('without INTERNAL_API_KEY a key is made once and kept in DATA_DIR', { skip: needsUp }, async (t) => {
    const server = await startServer({ INTERNAL_API_KEY: undefined });
    t.after(() => server.remove());
    const list = (key) => new Client(server.internalUrl)
      .get('/internal/city/rooms', { headers: key ? { 'X-Internal-API-Key': key } : {} });
    assertError(await list(), 401, 'unauthorized');
    const texts = fs.readdirSync(server.dataDir)
      .map((name) => path.join(server.dataDir, name))
      .filter((file) => fs.statSync(file).isFile() && fs.statSync(file).size < 4096)
      .map((file) => fs.readFileSync(file, 'utf8'));
    const words = texts.flatMap((text) => text.split(/[\s"',:={}]+/)).filter((word) => word.length >= 16);
    const answers = await Promise.all(words.map(async (word) => [word, (await list(word)).status]));
    const key = answers.find(([, status]) => status === 200)?.[0];
    assert.ok(key, 'one of the words in DATA_DIR is the key');
    await server.stop();
    await server.start();
    assert.equal((await list(key)).status, 200);
  });
});

const needsPostgres = process.env.E2E_BACKENDS !== 'real' && process.env.E2E_DB !== 'postgres'
  && 'a database that can go away: run over real backends';

test('when the database is away, ready says so and the process lives', { skip: needsPostgres }, async (t) => {
  const server = await startServer({}, { isOwn: true });
  t.after(() => server.remove());
  const api = new Client(server.publicUrl);
  await api.ok('GET', '/api/city/rooms');
  await server.database.remove();
  const user = person({ api });
  const response = await user.api.post('/api/city/rooms/general/messages', { body: 'x' });
  assert.ok([503, 504].includes(response.status), response.text);
  for (const listener of [api, new Client(server.internalUrl)]) {
    const ready = await listener.get('/readyz');
    assert.equal(ready.status, 503, ready.text);
    assert.equal(ready.json.status, 'unavailable');
    assert.equal(ready.json.checks.db.status, 'unavailable');
    assert.deepEqual(await listener.ok('GET', '/livez'), { status: 'ok' });
  }
});
