// HTTP/1.1 byte by byte: keep-alive, pipelining, bodies, limits, malformed requests, CORS.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, newRoom, person, useCity } from './support/city.mjs';
import { connect, exchange } from './support/raw.mjs';
import { assertError } from './support/http.mjs';
import { hasReplicas, notOverStack } from './support/server.mjs';

const ORIGIN = 'https://city.example';
const city = useCity({
  CORS_ORIGINS: `${ORIGIN},http://localhost:5173`,
  HEAD_TIMEOUT_MS: 1000,
  BODY_TIMEOUT_MS: 1000,
  ...(hasReplicas ? {} : { KEEPALIVE_TIMEOUT_MS: 1500 }), // nginx is to close first
});
const port = () => city.server.publicPort;
const get = (path, headers = '') => `GET ${path} HTTP/1.1\r\nHost: city\r\n${headers}\r\n`;
const post = (path, body, headers = '') => `POST ${path} HTTP/1.1\r\nHost: city\r\n`
  + `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;
const ROOMS = '/api/city/rooms';

async function open(t) {
  const raw = await connect(port());
  closing(t, raw);
  return raw;
}

/** The request must get this error, and the connection must end. */
async function refusedAndClosed(t, text, status, error) {
  const raw = await open(t);
  raw.send(text);
  assertError(await raw.readResponse(), status, error);
  await raw.waitEnd();
}

/** The server must still answer others. */
async function alive() {
  await city.api.ok('GET', '/livez');
}

const nginxs = notOverStack('nginx does this itself');

describe('connections', () => {
  test('one connection carries many requests', async (t) => {
    const raw = await open(t);
    for (let i = 0; i < 20; i += 1) {
      raw.send(get(ROOMS));
      const response = await raw.readResponse({ path: ROOMS });
      assert.equal(response.status, 200);
    }
  });

  test('fifty pipelined requests are answered in order', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const raw = await open(t);
    const path = `${ROOMS}/${room.slug}/messages`;
    let text = '';
    for (let i = 0; i < 50; i += 1) {
      const token = `Authorization: Bearer ${user.token}\r\n`;
      text += i % 2 === 0
        ? post(path, JSON.stringify({ body: `черга ${i}` }), token)
        : get(`${ROOMS}/unknown-${i}`);
    }
    raw.send(Buffer.from(text, 'utf8'));
    for (let i = 0; i < 50; i += 1) {
      const response = await raw.readResponse();
      if (i % 2 === 0) {
        assert.equal(response.status, 200, response.text);
        assert.equal(response.json.body, `черга ${i}`);
        assert.equal(response.json.offset, i / 2 + 1);
      } else {
        assertError(response, 404, 'room_not_found');
      }
    }
  });

  test('a request may arrive byte by byte', async (t) => {
    const user = person(city);
    const raw = await open(t);
    const text = Buffer.from(post(`${ROOMS}/general/messages`, '{"body":"по літері"}', `Authorization: Bearer ${user.token}\r\n`));
    for (const byte of text) {
      raw.socket.write(Buffer.from([byte]));
    }
    const response = await raw.readResponse();
    assert.equal(response.json.body, 'по літері');
  });

  test('Connection: close is answered and kept', async (t) => {
    const raw = await open(t);
    raw.send(get('/livez', 'Connection: close\r\n'));
    const response = await raw.readResponse({ path: '/livez' });
    assert.match(response.headers.connection ?? '', /close/i);
    await raw.waitEnd();
  });

  test('HTTP/1.0 is answered and closed', async (t) => {
    const raw = await open(t);
    raw.send('GET /livez HTTP/1.0\r\nHost: city\r\n\r\n');
    assert.equal((await raw.readResponse({ path: '/livez' })).status, 200);
    await raw.waitEnd();
  });

  test('a quiet connection is closed after the keep-alive time', { skip: nginxs }, async (t) => {
    const raw = await open(t);
    raw.send(get('/livez'));
    await raw.readResponse();
    await raw.waitEnd(15_000);
  });

  test('a client that goes away before the answer harms nobody', async () => {
    for (let i = 0; i < 30; i += 1) {
      const raw = await connect(port());
      raw.send(get(ROOMS).repeat(20));
      raw.socket.resetAndDestroy();
    }
    await alive();
  });

  test('a client that closes its half after asking still gets the answer', { skip: nginxs }, async (t) => {
    const raw = await open(t);
    raw.socket.end(get('/livez'));
    assert.equal((await raw.readResponse({ path: '/livez' })).status, 200);
  });

  test('header names may have any case and values blanks around them', async (t) => {
    const user = person(city);
    const raw = await open(t);
    raw.send(`GET /api/auth/me HTTP/1.1\r\nhOsT:city\r\naUTHORIZATION: \t Bearer ${user.token} \t\r\n\r\n`);
    assert.equal((await raw.readResponse({ path: '/api/auth/me' })).json.id, user.id);
  });

  test('a target in absolute form is understood', async () => {
    const response = await exchange(port(), 'GET http://city/livez HTTP/1.1\r\nHost: city\r\n\r\n');
    assert.ok([200, 400].includes(response.status));
  });

  test('every answer has a date or none, one length, and a request id that can be given', { skip: nginxs }, async () => {
    const response = await city.api.get('/health', { headers: { 'X-Request-Id': 'abcdefghijklmnopqrstuvwxyz' } });
    assert.equal(response.headers['x-request-id'], 'abcdefghijklmnopqrstuvwxyz');
    const made = await city.api.get('/health', { headers: { 'X-Request-Id': 'bad id\t' } });
    assert.ok(made.headers['x-request-id']);
    assert.notEqual(made.headers['x-request-id'], 'bad id\t');
  });
});

describe('bodies', { skip: nginxs }, () => {
  const head = (user, headers) => `POST ${ROOMS}/general/messages HTTP/1.1\r\nHost: city\r\n`
    + `Authorization: Bearer ${user.token}\r\nContent-Type: application/json\r\n${headers}\r\n`;

  test('a chunked body is put together, extensions and trailers are skipped', async (t) => {
    const raw = await open(t);
    raw.send(Buffer.from(`${head(person(city), 'Transfer-Encoding: chunked\r\n')}`
      + '9;name=value\r\n{"body":"\r\n6\r\nшма\r\n2\r\n"}\r\n0\r\nX-Trailer: 1\r\n\r\n'));
    assert.equal((await raw.readResponse()).json.body, 'шма');
    raw.send(get('/livez'));
    assert.equal((await raw.readResponse()).status, 200);
  });

  for (const [what, chunks] of [
    ['a size that is no number', 'zz\r\n{}\r\n0\r\n\r\n'],
    ['a negative size', '-1\r\n{}\r\n0\r\n\r\n'],
    ['a size beyond 64 bits', 'fffffffffffffffff\r\n{}\r\n0\r\n\r\n'],
    ['no line end after the data', '2\r\n{}XX0\r\n\r\n'],
  ]) {
    test(`a chunked body with ${what} is refused and the connection closed`, async (t) => {
      const raw = await open(t);
      raw.send(head(person(city), 'Transfer-Encoding: chunked\r\n') + chunks);
      const response = await raw.readResponse();
      assert.ok([400, 413].includes(response.status), response.text);
      await raw.waitEnd();
    });
  }

  test('a body of 65536 bytes is allowed, one more is too large', async (t) => {
    const user = person(city);
    const fill = (length) => {
      const frame = '{"body":"x","more":""}';
      return `{"body":"x","more":"${'y'.repeat(length - frame.length)}"}`;
    };
    const fits = await user.api.request('POST', `${ROOMS}/general/messages`, {
      body: fill(65536), headers: { 'Content-Type': 'application/json' },
    });
    assert.equal(fits.status, 200);
    const raw = await open(t);
    raw.send(head(user, 'Content-Length: 65537\r\n'));
    assertError(await raw.readResponse(), 413, 'payload_too_large');
  });

  test('a chunked body over 65536 bytes is too large, however it is cut', async (t) => {
    const raw = await open(t);
    raw.send(head(person(city), 'Transfer-Encoding: chunked\r\n'));
    const chunk = `2000\r\n${'x'.repeat(0x2000)}\r\n`;
    for (let i = 0; i < 9; i += 1) {
      raw.send(chunk);
    }
    assertError(await raw.readResponse(), 413, 'payload_too_large');
  });

  test('a length of many gigabytes is refused before a byte of it', async (t) => {
    const raw = await open(t);
    raw.send(head(person(city), 'Content-Length: 99999999999\r\n'));
    assertError(await raw.readResponse(), 413, 'payload_too_large');
    await raw.waitEnd();
  });

  test('Expect: 100-continue with a good body ends in 200', async (t) => {
    const raw = await open(t);
    const body = Buffer.from('{"body":"чекаю дозволу"}');
    raw.send(head(person(city), `Content-Length: ${body.length}\r\nExpect: 100-continue\r\n`));
    assert.equal((await raw.readHead()).status, 100);
    raw.send(body);
    assert.equal((await raw.readResponse()).json.body, 'чекаю дозволу');
  });

  test('Expect: 100-continue with a body too large is refused without it', async (t) => {
    const raw = await open(t);
    raw.send(head(person(city), 'Content-Length: 70000\r\nExpect: 100-continue\r\n'));
    assertError(await raw.readResponse(), 413, 'payload_too_large');
  });

  test('another expectation fails', async (t) => {
    const raw = await open(t);
    raw.send(head(person(city), 'Content-Length: 2\r\nExpect: miracles\r\n'));
    assertError(await raw.readResponse(), 417, 'expectation_failed');
  });

  test('a body that does not arrive in time is 408', async (t) => {
    const raw = await open(t);
    raw.send(`${head(person(city), 'Content-Length: 100\r\n')}{"body"`);
    assertError(await raw.readResponse({ timeoutMs: 15_000 }), 408, 'request_timeout');
    await raw.waitEnd();
  });
});

describe('heads', { skip: nginxs }, () => {
  test('a head that does not arrive in time is 408, however many bytes trickle', async (t) => {
    const raw = await open(t);
    raw.send('GET /livez HTTP/1.1\r\nHost: city\r\n');
    let beat = 0;
    const timer = setInterval(() => {
      beat += 1;
      raw.send(`X-Slow-${beat}: 1\r\n`);
    }, 100);
    t.after(() => clearInterval(timer));
    assertError(await raw.readResponse({ timeoutMs: 15_000 }), 408, 'request_timeout');
    clearInterval(timer);
    await raw.waitEnd();
  });

  test('a head over 16384 bytes is 431', async (t) => {
    await refusedAndClosed(t, get('/livez', `X-Long: ${'x'.repeat(17000)}\r\n`), 431, 'headers_too_large');
  });

  test('many small headers over 16384 bytes are 431', async (t) => {
    const headers = Array.from({ length: 1500 }, (_, i) => `X-${i}: value\r\n`).join('');
    await refusedAndClosed(t, get('/livez', headers), 431, 'headers_too_large');
  });

  test('a target over 16384 bytes is 431', async (t) => {
    await refusedAndClosed(t, get(`/${'a'.repeat(17000)}`), 431, 'headers_too_large');
  });

  test('a head of nearly 16384 bytes is allowed', async () => {
    const response = await exchange(port(), get('/livez', `X-Long: ${'x'.repeat(15000)}\r\n`));
    assert.equal(response.status, 200);
  });

  for (const [what, text] of [
    ['a line that is no request', 'hello there\r\n\r\n'],
    ['no version', 'GET /livez\r\n\r\n'],
    ['a version that does not exist', 'GET /livez HTTP/9.9\r\nHost: city\r\n\r\n'],
    ['HTTP/2 without asking', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a TLS hello', '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03'.padEnd(200, '\x00')],
    ['a NUL in the target', 'GET /li\x00vez HTTP/1.1\r\nHost: city\r\n\r\n'],
    ['a NUL in a header value', 'GET /livez HTTP/1.1\r\nHost: city\r\nX-A: a\x00b\r\n\r\n'],
    ['a NUL in a header name', 'GET /livez HTTP/1.1\r\nHost: city\r\nX\x00A: b\r\n\r\n'],
    ['a blank in the target', 'GET /li vez HTTP/1.1\r\nHost: city\r\n\r\n'],
    ['a blank before the colon', 'GET /livez HTTP/1.1\r\nHost: city\r\nX-A : b\r\n\r\n'],
    ['a header without a name', 'GET /livez HTTP/1.1\r\nHost: city\r\n: b\r\n\r\n'],
    ['a header without a colon', 'GET /livez HTTP/1.1\r\nHost: city\r\nnonsense\r\n\r\n'],
    ['a control character in a header value', 'GET /livez HTTP/1.1\r\nHost: city\r\nX-A: a\x01b\r\n\r\n'],
    ['no Host', 'GET /livez HTTP/1.1\r\n\r\n'],
    ['two Hosts', 'GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['Content-Length and Transfer-Encoding', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['Transfer-Encoding and Content-Length', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n`],
    ['two lengths that differ', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
    ['a list of lengths', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: 2, 3\r\n\r\n{}`],
    ['a negative length', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: -2\r\n\r\n{}`],
    ['a length with a plus', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: +2\r\n\r\n{}`],
    ['a hexadecimal length', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: 0x2\r\n\r\n{}`],
    ['a length beyond 64 bits', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: 99999999999999999999999\r\n\r\n{}`],
    ['an empty length', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nContent-Length: \r\n\r\n{}`],
    ['a transfer encoding that nobody knows', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nTransfer-Encoding: gzip\r\n\r\n{}`],
    ['chunked that is not last', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['chunked twice', `POST ${ROOMS} HTTP/1.1\r\nHost: city\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ]) {
    test(`a request with ${what} is refused and the connection closed`, async (t) => {
      const raw = await open(t);
      raw.send(text);
      const response = await raw.readResponse();
      assert.ok([400, 413].includes(response.status), `${response.status} ${response.text}`);
      await raw.waitEnd();
      await alive();
    });
  }

  test('what follows a refused request is never taken for a request', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const path = `${ROOMS}/${room.slug}/messages`;
    const smuggled = post(path, '{"body":"smuggled"}', `Authorization: Bearer ${user.token}\r\n`);
    const raw = await open(t);
    raw.send(`POST ${path} HTTP/1.1\r\nHost: city\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n`
      + `0\r\n\r\n${smuggled}`);
    assert.equal((await raw.readResponse()).status, 400);
    await raw.waitEnd();
    assert.deepEqual(await city.api.history(room.slug), []);
  });

  test('random bytes never stop the server', async () => {
    let seed = 42;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed >>> 24;
    };
    for (let i = 0; i < 100; i += 1) {
      const raw = await connect(port());
      const noise = Buffer.from(Array.from({ length: 1 + random() * 4 }, random));
      raw.socket.end(i % 2 ? noise : Buffer.concat([Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n'), noise]));
      await raw.waitEnd(15_000);
      raw.destroy();
    }
    await alive();
  });
});

describe('methods', () => {
  test('HEAD is answered like GET without the body', async (t) => {
    const raw = await open(t);
    raw.send(get(ROOMS));
    const whole = await raw.readResponse({ path: ROOMS });
    raw.send(`HEAD ${ROOMS} HTTP/1.1\r\nHost: city\r\n\r\n${get('/livez')}`);
    const head = await raw.readResponse({ method: 'HEAD', path: ROOMS });
    assert.equal(head.status, 200);
    assert.equal(head.headers['content-type'], whole.headers['content-type']);
    assert.equal(head.headers['content-length'], whole.headers['content-length']);
    assert.deepEqual((await raw.readResponse()).json, { status: 'ok' });
  });

  test('HEAD of what is not there has the status and no body', async (t) => {
    const raw = await open(t);
    raw.send(`HEAD ${ROOMS}/nowhere HTTP/1.1\r\nHost: city\r\n\r\n${get('/livez')}`);
    assert.equal((await raw.readResponse({ method: 'HEAD' })).status, 404);
    assert.deepEqual((await raw.readResponse()).json, { status: 'ok' });
  });

  for (const [method, path, allowed] of [
    ['DELETE', ROOMS, ['GET', 'HEAD', 'POST', 'OPTIONS']],
    ['PUT', `${ROOMS}/general`, ['GET', 'HEAD', 'OPTIONS']],
    ['GET', `${ROOMS}/general/join`, ['POST', 'OPTIONS']],
    ['PATCH', `${ROOMS}/general/messages`, ['GET', 'HEAD', 'POST', 'OPTIONS']],
    ['POST', '/api/city/feed', ['GET', 'HEAD', 'OPTIONS']],
    ['GET', '/api/auth/guest', ['POST', 'OPTIONS']],
    ['POST', '/health', ['GET', 'HEAD', 'OPTIONS']],
  ]) {
    test(`${method} ${path} is not allowed, and Allow says what is`, async () => {
      const response = await city.api.request(method, path, { json: method === 'GET' ? undefined : {} });
      assertError(response, 405, 'method_not_allowed');
      assert.deepEqual(response.headers.allow.split(/, */).sort(), [...allowed].sort());
    });
  }

  test('methods that nobody has are refused', { skip: nginxs }, async () => {
    for (const method of ['TRACE', 'CONNECT', 'PROPFIND', 'BREW', 'get']) {
      const target = method === 'CONNECT' ? 'city:80' : '/livez';
      const response = await exchange(port(), `${method} ${target} HTTP/1.1\r\nHost: city\r\n\r\n`);
      assert.ok([400, 404, 405, 501].includes(response.status), `${method}: ${response.status}`);
    }
    await alive();
  });

  test('unknown paths under the interface are not found', { skip: nginxs }, async () => {
    for (const path of ['/api', '/api/', '/api/nothing', '/api/city', '/api/city/', `${ROOMS}/`,
      `${ROOMS}/general/unknown`, `${ROOMS}/general/messages/1`, '/ws', '/ws/city', '/ws/nothing',
      '/presence/nothing', '/internal/city/rooms', '/metrics']) {
      assertError(await city.api.get(path), 404, 'not_found');
    }
  });

  test('dots and encoded slashes in a path do not lead elsewhere', { skip: nginxs }, async () => {
    for (const path of ['/api/city/../../metrics', '/api/%2e%2e/metrics', '/api/city/rooms/%2e%2e%2f%2e%2e',
      '/presence/..%2f..%2finternal/city/rooms', '//metrics', '/api//city/rooms', '/api/city/rooms/%zz',
      '/api/city/rooms/%', '/api/city/rooms/general%00', '/api/city/rooms/%ff%fe']) {
      const response = await exchange(port(), get(path));
      assert.ok([400, 404].includes(response.status), `${path}: ${response.status}`);
    }
  });

  test('a percent-encoded path is the same path', async () => {
    const response = await exchange(port(), get('/api/city/rooms/%67eneral'));
    assert.equal(response.json.slug, 'general');
  });
});

describe('CORS', () => {
  test('an origin on the list is echoed with credentials', async () => {
    const response = await city.api.get(ROOMS, { headers: { Origin: ORIGIN } });
    assert.equal(response.headers['access-control-allow-origin'], ORIGIN);
    assert.equal(response.headers['access-control-allow-credentials'], 'true');
    assert.match(response.headers.vary ?? '', /origin/i);
  });

  test('errors carry it too, so that a page can read them', async () => {
    const response = await city.api.get(`${ROOMS}/nowhere`, { headers: { Origin: ORIGIN } });
    assert.equal(response.status, 404);
    assert.equal(response.headers['access-control-allow-origin'], ORIGIN);
  });

  test('an origin that is not on the list gets no permission', async () => {
    for (const origin of ['https://evil.example', `${ORIGIN}.evil.example`, 'https://city.example:444',
      'http://city.example', 'null', `https://x.city.example`]) {
      const response = await city.api.get(ROOMS, { headers: { Origin: origin } });
      assert.equal(response.headers['access-control-allow-origin'], undefined, origin);
    }
  });

  for (const path of [ROOMS, `${ROOMS}/general/messages`, '/api/auth/guest', '/presence/summary', '/api/city/feed']) {
    test(`a preflight for ${path} is answered with methods and headers`, async () => {
      const response = await city.api.request('OPTIONS', path, {
        headers: {
          Origin: ORIGIN,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': 'content-type,authorization,idempotency-key',
        },
      });
      assert.equal(response.status, 204);
      assert.equal(response.headers['access-control-allow-origin'], ORIGIN);
      assert.equal(response.headers['access-control-allow-credentials'], 'true');
      assert.match(response.headers['access-control-allow-methods'], /GET|POST/);
      for (const header of ['content-type', 'authorization', 'idempotency-key']) {
        assert.ok(response.headers['access-control-allow-headers'].toLowerCase().includes(header), header);
      }
    });
  }

  test('a preflight of an origin that is not on the list gets no permission', async () => {
    const response = await city.api.request('OPTIONS', ROOMS, {
      headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' },
    });
    assert.equal(response.headers['access-control-allow-origin'], undefined);
  });

  test('OPTIONS without an origin is answered', async () => {
    const response = await city.api.request('OPTIONS', ROOMS);
    assert.equal(response.status, 204);
  });
});

test('nothing of all this was logged with a token in it', () => {
  assert.ok(!/eyJ[\w-]+\.eyJ[\w-]+\./.test(city.server.stderr));
});
