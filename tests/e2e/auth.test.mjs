// Guests, tokens of every wrong kind, the places a token may stand, and open mode.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, newRoom, person, useCity } from './support/city.mjs';
import { assertError, Client } from './support/http.mjs';
import { openSocket } from './support/sockets.mjs';
import { notOverStack, runBinary, startServer, topology } from './support/server.mjs';
import { makeToken, makeUser, newUserId } from './support/tokens.mjs';

const now = () => Math.floor(Date.now() / 1000);

describe('with tokens required', () => {
  const city = useCity();

  describe('guests', () => {
    test('a guest gets a token that says who it is', async () => {
      const session = await city.api.ok('POST', '/api/auth/guest', { display_name: 'Оленка' });
      assert.match(session.user.id, /^u_[0-9A-HJKMNP-TV-Z]{26}$/);
      assert.equal(session.user.display_name, 'Оленка');
      assert.deepEqual(session.user.roles, ['guest']);
      const claims = JSON.parse(Buffer.from(session.access_token.split('.')[1], 'base64url'));
      assert.equal(claims.sub, session.user.id);
      assert.equal(claims.name, 'Оленка');
      assert.equal(claims.type, 'access');
      assert.equal(claims.iss, 'daarion-auth');
      assert.deepEqual(claims.roles, ['guest']);
      assert.equal(claims.exp - claims.iat, session.expires_in);
      const header = JSON.parse(Buffer.from(session.access_token.split('.')[0], 'base64url'));
      assert.equal(header.alg, 'HS256');
      const me = await city.api.ok('GET', '/api/auth/me', undefined, { token: session.access_token });
      assert.equal(me.id, session.user.id);
      assert.equal(me.display_name, 'Оленка');
      assert.deepEqual(me.roles, ['guest']);
      assert.equal(Date.parse(me.expires_at), claims.exp * 1000);
    });

    test('two guests of one name are two people', async () => {
      const one = await city.api.ok('POST', '/api/auth/guest', { display_name: 'Гість' });
      const two = await city.api.ok('POST', '/api/auth/guest', { display_name: 'Гість' });
      assert.notEqual(one.user.id, two.user.id);
    });

    test('the token of a guest opens writing and sockets', async (t) => {
      const { access_token: token, user } = await city.api
        .ok('POST', '/api/auth/guest', { display_name: 'Письменниця' });
      const message = await city.api.ok('POST', '/api/city/rooms/general/messages', { body: 'я тут' }, { token });
      assert.equal(message.user_id, user.id);
      assert.equal(message.username, 'Письменниця');
      const socket = await openSocket(city.server, `/ws/city/rooms/general?token=${token}`);
      closing(t, socket);
      await socket.nextFrame('RoomSnapshot');
    });

    test('64 code points are allowed as a name', async () => {
      const name = '🌻'.repeat(64);
      const session = await city.api.ok('POST', '/api/auth/guest', { display_name: name });
      assert.equal(session.user.display_name, name);
      const me = await city.api.ok('GET', '/api/auth/me', undefined, { token: session.access_token });
      assert.equal(me.display_name, name);
    });

    for (const [what, body] of [
      ['without a name', {}],
      ['with an empty name', { display_name: '' }],
      ['with a name of blanks', { display_name: '   ' }],
      ['with a name of 65', { display_name: 'x'.repeat(65) }],
      ['with a number as name', { display_name: 1 }],
      ['with a NUL in the name', { display_name: 'a\u0000' }],
      ['with a line end in the name', { display_name: 'a\nb' }],
    ]) {
      test(`a guest ${what} is refused`, async () => {
        const response = await city.api.post('/api/auth/guest', body);
        assertError(response, 422, 'invalid_input', 'display_name');
      });
    }
  });

  describe('tokens that are refused', () => {
    const good = makeToken();
    const [head, body, signature] = good.split('.');
    const flip = (text) => (text[0] === 'A' ? 'B' : 'A') + text.slice(1);
    for (const [what, token, error = 'unauthorized'] of [
      ['an expired token', makeToken({ exp: now() - 10 }), 'token_expired'],
      ['a forged signature', `${head}.${body}.${flip(signature)}`],
      ['a changed body', `${head}.${Buffer.from(JSON.stringify({ sub: 'u_x' })).toString('base64url')}.${signature}`],
      ['another secret', makeToken({}, { secret: 'another secret that is long enough' })],
      ['alg none', makeToken({}, { secret: null, header: { alg: 'none' } })],
      ['alg None with a signature', makeToken({}, { header: { alg: 'None' } })],
      ['alg HS512', makeToken({}, { header: { alg: 'HS512' }, hash: 'sha512' })],
      ['alg RS256', makeToken({}, { header: { alg: 'RS256' } })],
      ['no alg', makeToken({}, { header: { alg: undefined } })],
      ['no signature', `${head}.${body}.`],
      ['two parts', `${head}.${body}`],
      ['four parts', `${good}.x`],
      ['type refresh', makeToken({ type: 'refresh' })],
      ['another issuer', makeToken({ iss: 'somebody' })],
      ['no sub', makeToken({ sub: undefined })],
      ['an empty sub', makeToken({ sub: '' })],
      ['a number as sub', makeToken({ sub: 5 })],
      ['a sub of 129', makeToken({ sub: 'u'.repeat(129) })],
      ['a sub with a blank', makeToken({ sub: 'u x' })],
      ['no exp', makeToken({ exp: undefined })],
      ['text as exp', makeToken({ exp: 'never' })],
      ['issued in an hour', makeToken({ iat: now() + 3600, exp: now() + 7200 })],
      ['text', 'hello'],
      ['over 4096 bytes', makeToken({ name: 'x'.repeat(5000) })],
    ]) {
      test(`${what} is refused over HTTP and on sockets`, async () => {
        assertError(await city.api.get('/api/auth/me', { token }), 401, error);
        const said = await city.api.post('/api/city/rooms/general/messages', { body: 'x' }, { token });
        assertError(said, 401, error);
        const socket = await openSocket(city.server, `/ws/city/presence?token=${encodeURIComponent(token)}`);
        assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: error });
      });
    }

    for (const target of ['/api/city/rooms', '/api/city/rooms/general', '/api/city/rooms/general/messages',
      '/api/city/feed', '/presence/summary', '/presence/stream']) {
      test(`a token that does not hold is refused at ${target}, where none is needed`, async () => {
        const expired = makeToken({ exp: now() - 10 });
        assertError(await city.api.get(target, { token: expired }), 401, 'token_expired');
        assertError(await city.api.get(`${target}?token=hello`), 401, 'unauthorized');
      });
    }

    for (const [target, body] of [['/api/city/rooms', { name: '' }], ['/api/city/rooms/no-such-room/messages', { body: '' }],
      ['/api/city/rooms/general/messages', { body: 5 }], ['/api/city/rooms/no-such-room/join', {}]]) {
      test(`a stranger who writes to ${target} learns only that a token is needed`, async () => {
        assertError(await city.api.post(target, body), 401, 'unauthorized');
      });
    }

    test('an empty bearer and another scheme are refused', async () => {
      for (const header of ['Bearer', 'Bearer ', 'Basic dXNlcjpwYXNz', good]) {
        const response = await city.api.get('/api/auth/me', { headers: { Authorization: header } });
        assertError(response, 401, 'unauthorized');
      }
    });

    test('me without a token is refused', async () => {
      assertError(await city.api.get('/api/auth/me'), 401, 'unauthorized');
    });

    test('a refused token is never repeated in the answer', async () => {
      const token = makeToken({ exp: now() - 10 });
      const response = await city.api.get('/api/auth/me', { token });
      assert.ok(!response.text.includes(token));
    });
  });

  describe('where a token may stand', () => {
    test('in the header, whatever the case of the scheme, and in both query parameters', async () => {
      const user = makeUser();
      for (const header of [`Bearer ${user.token}`, `bearer ${user.token}`]) {
        const me = await city.api.ok('GET', '/api/auth/me', undefined, { headers: { Authorization: header } });
        assert.equal(me.id, user.id);
      }
      for (const name of ['token', 'access_token']) {
        assert.equal((await city.api.ok('GET', `/api/auth/me?${name}=${user.token}`)).id, user.id);
      }
    });

    test('a socket takes it from the header, both query parameters and the subprotocol', async (t) => {
      const user = makeUser();
      const path = '/ws/city/rooms/general';
      const sockets = [
        await openSocket(city.server, path, { headers: { Authorization: `Bearer ${user.token}` } }),
        await openSocket(city.server, `${path}?token=${user.token}`),
        await openSocket(city.server, `${path}?access_token=${user.token}`),
        await openSocket(city.server, path, { protocols: ['bearer', user.token] }),
      ];
      closing(t, ...sockets);
      for (const socket of sockets) {
        await socket.nextFrame('RoomSnapshot');
        socket.send({ event: 'room.join' });
        const joined = await socket.nextFrame('RoomJoin');
        assert.equal(joined.user_id, user.id);
        socket.send({ event: 'room.leave' });
        await socket.barrier();
      }
      assert.equal(sockets[3].ws.protocol, 'bearer');
      assert.equal(sockets[0].ws.protocol, '');
    });

    test('an identity that is no guest of ours is taken as it is', async () => {
      for (const sub of ['6f9619ff-8b86-d011-b42d-00cf4fc964ff', '@daarion_6f96:daarion.space', 'user:93', 'u'.repeat(128)]) {
        const token = makeToken({ sub });
        assert.equal((await city.api.ok('GET', '/api/auth/me', undefined, { token })).id, sub);
      }
    });

    test('a token without a name still has a display name', async () => {
      const sub = newUserId();
      const token = makeToken({ sub, name: undefined });
      const message = await city.api.ok('POST', '/api/city/rooms/general/messages', { body: 'без імені' }, { token });
      assert.ok(message.username.length > 0);
    });
  });

  describe('whose name is used', () => {
    test('a foreign user_id in the body of any write is refused and changes nothing', async () => {
      const user = person(city);
      const room = await newRoom(city, user);
      const foreign = { user_id: newUserId() };
      for (const [target, body] of [
        [`/api/city/rooms/${room.slug}/messages`, { body: 'x', ...foreign }],
        [`/api/city/rooms/${room.slug}/join`, foreign],
        [`/api/city/rooms/${room.slug}/leave`, foreign],
        ['/api/city/rooms', { name: 'Чужа', slug: 'stolen', ...foreign }],
      ]) {
        assertError(await user.api.post(target, body), 403, 'user_mismatch');
      }
      assert.deepEqual(await city.api.history(room.slug), []);
      assertError(await city.api.get('/api/city/rooms/stolen'), 404, 'room_not_found');
    });
  });
});

describe('in open mode', () => {
  const city = useCity({ AUTH_MODE: 'open' });

  test('without a token the user_id of the body is taken, else anonymous', async () => {
    const at = '/api/city/rooms/general/messages';
    const named = await city.api.ok('POST', at, { body: 'хтось', user_id: 'u_somebody' });
    assert.equal(named.user_id, 'u_somebody');
    const nobody = await city.api.ok('POST', at, { body: 'ніхто' });
    assert.equal(nobody.user_id, 'anonymous');
    assert.ok(nobody.username.length > 0);
  });

  test('sockets open without a token, and the first user_id of a frame is taken', async (t) => {
    const socket = await openSocket(city.server, '/ws/city/presence');
    closing(t, socket);
    socket.send({ event: 'presence.heartbeat', user_id: 'u_open' });
    await socket.nextFrame((f) => f.event === 'presence.update' && f.user_id === 'u_open');
    const room = await openSocket(city.server, '/ws/city/rooms/general');
    closing(t, room);
    await room.nextFrame('RoomSnapshot');
    room.send({ event: 'room.join' });
    assert.equal((await room.nextFrame('RoomJoin')).user_id, 'anonymous');
  });

  test('a token that is given still decides, and a wrong one is still refused', async () => {
    const user = makeUser();
    const at = '/api/city/rooms/general/messages';
    const said = await city.api.ok('POST', at, { body: 'з токеном' }, { token: user.token });
    assert.equal(said.user_id, user.id);
    const mismatch = await city.api.post(at, { body: 'x', user_id: 'u_other' }, { token: user.token });
    assertError(mismatch, 403, 'user_mismatch');
    assertError(await city.api.post(at, { body: 'x' }, { token: 'wrong' }), 401, 'unauthorized');
    const socket = await openSocket(city.server, '/ws/city/presence?token=wrong');
    assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'unauthorized' });
  });

  test('a user_id that cannot be one is refused', async () => {
    for (const userId of ['', 'a b', 'x'.repeat(129), 'a\u0000', 5]) {
      const response = await city.api.post('/api/city/rooms/general/messages', { body: 'x', user_id: userId });
      assertError(response, 422, 'invalid_input', 'user_id');
    }
  });
});

const onePort = notOverStack('HOST is a question of one process');
test('open mode on a public address is refused unless it is asked for twice', { skip: onePort }, async (t) => {
  const env = { AUTH_MODE: 'open', HOST: '0.0.0.0', PORT: 0, INTERNAL_PORT: 0, DATA_DIR: '/nonexistent/x' };
  const { code, stderr } = await runBinary(['up'], { env });
  assert.equal(code, 78);
  assert.match(stderr, /AUTH_OPEN_ON_PUBLIC/);
  const server = await startServer({ AUTH_MODE: 'open', HOST: '0.0.0.0', AUTH_OPEN_ON_PUBLIC: 'yes' });
  t.after(() => server.remove());
  const api = new Client(server.publicUrl);
  await api.ok('POST', '/api/city/rooms/general/messages', { body: 'відкрито' });
});

const needsUp = topology !== 'up' && 'only `daarion up` makes secrets';

test('without JWT_SECRET a secret is made once, kept in DATA_DIR and not readable by others', { skip: needsUp }, async (t) => {
  const server = await startServer({ JWT_SECRET: undefined, INTERNAL_API_KEY: undefined });
  t.after(() => server.remove());
  const api = new Client(server.publicUrl);
  const session = await api.ok('POST', '/api/auth/guest', { display_name: 'Постійна' });
  await server.stop();
  const { readdirSync, statSync } = await import('node:fs');
  const path = await import('node:path');
  for (const name of readdirSync(server.dataDir, { recursive: true })) {
    const stat = statSync(path.join(server.dataDir, name));
    if (stat.isFile()) {
      assert.equal(stat.mode & 0o007, 0, `${name} must not be readable by everybody`);
    }
  }
  await server.start();
  const again = new Client(server.publicUrl);
  const me = await again.ok('GET', '/api/auth/me', undefined, { token: session.access_token });
  assert.equal(me.id, session.user.id);
  assert.ok(!server.stderr.includes(session.access_token));
});
