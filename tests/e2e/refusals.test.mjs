// Whoever runs the city sees what it refuses: each bad input has its documented answer, leaves exactly
// one line in the log at the default level, without bodies, tokens or queries, and changes nothing.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { newRoom, person, useCity } from './support/city.mjs';
import {
  closePayload, connect, encodeFrame, exchange, handshakeText, OPCODE, upgrade,
} from './support/raw.mjs';
import { makeToken } from './support/tokens.mjs';

const ORIGIN = 'https://evil.example';
const SECRET = 'sEcReT-words';
const IDLE_MS = 2500;
const city = useCity({
  HEAD_TIMEOUT_MS: 700,
  BODY_TIMEOUT_MS: 700,
  WS_IDLE_TIMEOUT_MS: IDLE_MS,
  WS_PING_INTERVAL_MS: 1000,
  LIMIT_SOCKETS_PER_USER: 2,
  LIMIT_PRESENCE_PER_S: 1,
  LIMIT_PRESENCE_BURST: 1,
});

// The log sums up more than 20 lines of one name in a second: what is counted here stays below that.
const LINES_A_SECOND = 14;
const marks = [];
async function pace() {
  while (marks.length >= LINES_A_SECOND && performance.now() - marks.at(-LINES_A_SECOND) < 1100) {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  marks.push(performance.now(), performance.now());
}

let barriers = 0;

/** The lines that act leaves, in full: a refusal that is known by its path ends them. */
async function linesOf(act, fits) {
  await pace();
  const { server } = city;
  const from = server.events.length;
  await act();
  const fresh = (event) => server.events.indexOf(event) >= from;
  await server.waitForEvent((event) => fresh(event) && fits(event));
  barriers += 1;
  const path = `/api/barrier-${barriers}`;
  await city.api.get(path);
  const barrier = await server.waitForEvent((event) => event.path === path);
  // The aggregator's own life goes on beside it, and so does what the city hears of it.
  return server.events.slice(from, server.events.indexOf(barrier)).filter(({ event }) => !/^(presence\.|city\.presence_state$)/.test(event));
}

let user;
let room;
async function ensurePeople() {
  user ??= person(city);
  room ??= await newRoom(city, user);
}

function refused(what, want, act) {
  test(`${what}: ${Object.values(want).join(' ')}`, async () => {
    const fits = (line) => Object.entries(want).every(([name, value]) => line[name] === value);
    await ensurePeople();
    const lines = await linesOf(act, fits);
    assert.equal(lines.length, 1, JSON.stringify(lines));
    const [line] = lines;
    assert.ok(fits(line), JSON.stringify(line));
    assert.equal(line.address, '127.0.0.1');
    const text = JSON.stringify(line);
    assert.ok(!text.includes(SECRET), text);
    assert.ok(!text.includes(user.token.split('.')[2]), text);
    assert.ok(!text.includes('token='), text);
    if (line.event === 'http.request') {
      assert.ok(line.request_id);
    }
  });
}

const http = (status, code) => ({ event: 'http.request', level: 'info', status, code });
const port = () => city.server.publicPort;
const rooms = '/api/city/rooms';
const messages = () => `${rooms}/${room.slug}/messages`;

describe('HTTP', () => {
  const raw = (text) => () => exchange(port(), text());
  const post = (path, json, options = {}) => async () => {
    await city.api.request('POST', path(), { token: user.token, json, ...options });
  };
  const body = (bytes, headers = {}) => post(messages, undefined, {
    body: bytes, headers: { 'Content-Type': 'application/json', ...headers },
  });
  const bearer = (token) => async () => {
    await city.api.request('GET', rooms, { token });
  };
  const nested = (depth) => `{"body":"${SECRET}","x":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  const past = Math.floor(Date.now() / 1000) - 100;

  refused('a line that is no request', http(400, 'bad_request'), raw(() => 'HELLO\r\n\r\n'));
  refused('two hosts', http(400, 'bad_request'), raw(() => (
    `GET /?token=${user.token} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`)));
  refused('a method that nobody serves', http(501, 'unsupported'), raw(() => (
    `PROPFIND ${rooms}?token=${user.token} HTTP/1.1\r\nHost: a\r\n\r\n`)));
  refused('a head that is too large', http(431, 'headers_too_large'), raw(() => (
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${SECRET.repeat(2000)}\r\n\r\n`)));
  refused('a head that does not end', http(408, 'request_timeout'), raw(() => (
    `GET ${rooms} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${user.token}\r\n`)));
  refused('a body that does not arrive', http(408, 'request_timeout'), raw(() => (
    `POST ${messages()} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"body":"${SECRET}`)));
  refused('a body that is too large', http(413, 'payload_too_large'), raw(() => (
    `POST ${messages()} HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n`)));
  refused('an expectation', http(417, 'expectation_failed'), raw(() => (
    `POST ${messages()} HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n`)));
  refused('a method that is not served here', http(405, 'method_not_allowed'), async () => {
    await city.api.request('DELETE', `${rooms}?token=${user.token}`);
  });
  refused('a path that is not there', http(404, 'not_found'), async () => {
    await city.api.get(`/api/nothing?token=${user.token}`);
  });

  refused('JSON that is too deep', http(400, 'invalid_json'), body(nested(40)));
  refused('JSON that is none', http(400, 'invalid_json'), body(`{"body":"${SECRET}"`));
  refused('invalid UTF-8', http(400, 'invalid_json'), body(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])));
  refused('NUL in text', http(422, 'invalid_input'), post(messages, { body: `${SECRET}\0` }));
  refused('a wrong type', http(422, 'invalid_input'), post(messages, { body: 7, text: SECRET }));
  refused('blanks alone', http(422, 'invalid_input'), post(messages, { body: ' \n\t\u3000' }));
  refused('a body that is no JSON', http(415, 'unsupported_media_type'), body(SECRET, { 'Content-Type': 'text/plain' }));
  refused('a negative limit', http(422, 'invalid_input'), () => city.api.get(`${messages()}?limit=-1`));
  refused('a huge offset', http(422, 'invalid_input'), () => city.api.get(`${rooms}?offset=99999999999999999999`));
  refused('an unknown cursor', http(422, 'invalid_input'), () => city.api.get(`${messages()}?before=m_none`));
  refused('an unknown room', http(404, 'room_not_found'), () => city.api.get(`${rooms}/nowhere`));
  refused('a bad slug', http(422, 'invalid_input'), post(() => rooms, { name: SECRET, slug: 'No Slug' }));
  refused('a name that turns the text around', http(422, 'invalid_input'), post(() => rooms, { name: `${SECRET}\u202e` }));
  refused('a taken slug', http(409, 'slug_taken'), post(() => rooms, { name: SECRET, slug: 'general' }));
  refused('a slug that two want at once', http(409, 'slug_taken'), async () => {
    const both = [1, 2].map(() => user.api.post(rooms, { name: 'Двоє', slug: `race-${process.pid}` }));
    assert.deepEqual((await Promise.all(both)).map(({ status }) => status).sort(), [200, 409]);
  });
  refused('somebody else as user_id', http(403, 'user_mismatch'), post(messages, { body: SECRET, user_id: 'u_2' }));
  refused('somebody else as author_user_id', http(403, 'user_mismatch'), post(messages, { body: SECRET, author_user_id: 'u_2' }));
  refused('somebody else as created_by', http(403, 'user_mismatch'), post(() => rooms, { name: SECRET, created_by: 'u_2' }));

  refused('no token', http(401, 'unauthorized'), async () => {
    await city.api.post(messages(), { body: SECRET });
  });
  refused('an expired token', http(401, 'token_expired'), bearer(makeToken({ exp: past })));
  refused('a forged token', http(401, 'unauthorized'), bearer(makeToken({}, { secret: 'another secret, of thirty bytes' })));
  refused('alg none', http(401, 'unauthorized'), bearer(makeToken({}, { secret: null, header: { alg: 'none' } })));
  refused('a token of tomorrow', http(401, 'unauthorized'), bearer(makeToken({ nbf: past + 86400 })));
  refused('two different tokens', http(401, 'unauthorized'), async () => {
    await city.api.get(`${rooms}?token=${user.token}&access_token=bad`);
  });
  refused('the event stream with a forged token', http(401, 'unauthorized'), () => city.api.get('/presence/stream?token=bad'));
  refused('too many joins', http(429, 'rate_limited'), async () => {
    const join = () => city.api.request('POST', `${rooms}/${room.slug}/join`, { token: user.token });
    assert.deepEqual([(await join()).status, (await join()).status], [200, 429]);
  });
});

describe('sockets', () => {
  const open = [];
  afterEach(() => open.splice(0).forEach((raw) => raw.destroy()));

  /** A socket of a person of its own, who may be told nothing yet. */
  async function enter(path = `/ws/city/rooms/${room.slug}`, who = person(city)) {
    const raw = await upgrade(city.server, `${path}?token=${who.token}`);
    open.push(raw);
    return raw;
  }
  const closed = (path, token, code) => async () => {
    const raw = await upgrade(city.server, `${path()}${token ? `?token=${token}` : ''}`);
    open.push(raw);
    assert.equal((await raw.readClose()).code, code);
  };
  const at = () => `/ws/city/rooms/${room.slug}`;
  const turned = (close_code, code) => ({ event: 'city.socket_refused', level: 'info', close_code, code });

  refused('no token', turned(4401, 'unauthorized'), closed(at, '', 4401));
  refused('a forged token', turned(4401, 'unauthorized'), closed(at, makeToken({}, { secret: 'another secret, of thirty bytes' }), 4401));
  refused('an expired token', turned(4401, 'token_expired'), closed(at, makeToken({ exp: 1 }), 4401));
  refused('an unknown room', turned(4404, 'room_not_found'), closed(() => '/ws/city/rooms/nowhere', makeToken(), 4404));
  refused('more sockets than one may have', turned(4429, 'too_many_sockets'), async () => {
    const who = person(city);
    await enter(at(), who);
    await enter('/ws/city/presence', who);
    await closed(at, who.token, 4429)();
  });
  for (const [what, token] of [['a token', makeToken()], ['none', '']]) {
    refused(`a foreign origin with ${what}`, http(403, 'origin_forbidden'), () => (
      exchange(port(), handshakeText(`/ws/city/presence?token=${token}`, { Origin: ORIGIN }))));
  }
  refused('a plain GET', http(426, 'upgrade_required'), () => city.api.get('/ws/city/presence'));
  refused('a wrong key', http(400, 'bad_request'), () => (
    exchange(port(), handshakeText(`/ws/city/presence?token=${user.token}`, { 'Sec-WebSocket-Key': 'short' }))));

  const violation = (what, close_code, reason, send) => {
    refused(what, { event: 'ws.violation', level: 'info', close_code, reason }, async () => {
      const raw = await enter();
      send(raw);
      assert.deepEqual(await raw.readClose(), { code: close_code, reason });
      raw.sendFrame(OPCODE.text, SECRET); // what follows is no second line
      await raw.waitEnd();
    });
  };
  violation('a frame that is not masked', 1002, 'protocol_error', (raw) => raw.sendFrame(OPCODE.text, SECRET, { mask: false }));
  violation('reserved bits', 1002, 'protocol_error', (raw) => raw.sendFrame(OPCODE.text, SECRET, { rsv: 4 }));
  violation('a binary frame', 1003, 'text_only', (raw) => raw.sendFrame(OPCODE.binary, SECRET));
  violation('text that is not UTF-8', 1007, 'invalid_utf8', (raw) => raw.sendFrame(OPCODE.text, Buffer.from([0xff])));
  violation('a frame that is too large', 1009, 'message_too_big', (raw) => raw.sendFrame(OPCODE.text, SECRET, { length: 1 << 20 }));

  const late = { event: 'ws.violation', level: 'info', close_code: 1000, reason: 'data_after_close' };
  refused('frames behind a close in one packet', late, async () => {
    const raw = await enter();
    raw.send(Buffer.concat([
      encodeFrame(OPCODE.close, closePayload(1000)),
      encodeFrame(OPCODE.text, SECRET),
      encodeFrame(OPCODE.text, SECRET),
    ]));
    await raw.readClose();
  });
  refused('frames behind a close that was answered', late, async () => {
    const raw = await enter();
    raw.sendFrame(OPCODE.close, closePayload(1000));
    await raw.readClose();
    raw.sendFrame(OPCODE.text, SECRET);
    raw.sendFrame(OPCODE.text, SECRET);
  });
  refused('a half-open socket', { event: 'ws.idle', level: 'info', close_code: 4409 }, async () => {
    const raw = await enter();
    assert.equal((await raw.readClose(IDLE_MS + 10_000)).code, 4409);
  });

  const frame = (what, code, text) => {
    refused(`a frame with ${what}`, { event: 'city.frame_refused', level: 'info', code }, async () => {
      const raw = await enter();
      raw.sendFrame(OPCODE.text, typeof text === 'string' ? text : JSON.stringify(text));
      const answer = await raw.readFrame(({ text: got }) => got.includes('"error"'));
      assert.equal(JSON.parse(answer.text).error, code);
      raw.destroy();
    });
  };
  const say = (more) => ({ event: 'room.message.send', body: SECRET, ...more });
  frame('no JSON', 'invalid_json', SECRET);
  frame('deep JSON', 'invalid_json', `${'['.repeat(60)}${']'.repeat(60)}`);
  frame('NUL in text', 'invalid_input', say({ body: `${SECRET}\0` }));
  frame('a wrong type', 'invalid_input', say({ body: 7 }));
  frame('blanks alone', 'invalid_input', say({ body: '   ' }));
  frame('an event that nobody knows', 'unknown_event', { event: 'room.explode', body: SECRET });
  frame('another room', 'room_mismatch', say({ room_id: 'general' }));
  frame('somebody else as user_id', 'user_mismatch', say({ user_id: 'u_2' }));
  frame('somebody else as author_user_id', 'user_mismatch', say({ author_user_id: 'u_2' }));
  frame('somebody else as data.user_id', 'user_mismatch', { event: 'room.message.send', data: { body: SECRET, user_id: 'u_2' } });
  frame('typing from outside', 'forbidden', { event: 'room.typing', typing: true });
});

test('nothing of all that has changed anything', async () => {
  assert.deepEqual(await city.api.history(room.slug), []);
  const names = (await city.api.ok('GET', rooms)).map(({ name }) => name);
  assert.ok(!names.some((name) => name.includes(SECRET)), names.join());
  assert.equal(names.filter((name) => name === 'Двоє').length, 1);
});

describe('connections of one address', () => {
  const LIMIT = 6;
  const narrow = useCity({ LIMIT_CONNECTIONS_PER_ADDRESS: LIMIT });

  test('past the limit they get 429 and a line; places become free again', async (t) => {
    const held = [];
    t.after(() => held.forEach((raw) => raw.destroy()));
    for (let i = 0; i < LIMIT; i += 1) {
      held.push(await connect(narrow.server.publicPort));
    }
    const late = await connect(narrow.server.publicPort);
    held.push(late);
    const response = await late.readResponse();
    assert.equal(response.status, 429);
    assert.equal(response.json.error, 'rate_limited');
    await late.waitEnd();
    const line = await narrow.server.waitForEvent(({ event }) => event === 'http.connection_refused');
    assert.equal(line.address, '127.0.0.1');
    held[0].destroy();
    await held[0].waitEnd();
    // The internal listener counts nobody, and tells when the place is free.
    for (;;) {
      const { text } = await narrow.internal.get('/metrics');
      const [, open] = /^daarion_http_connections\{server="public"\} (\d+)$/m.exec(text);
      if (Number(open) < LIMIT) {
        break;
      }
    }
    held.push(await connect(narrow.server.publicPort));
    held.at(-1).send('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.equal((await held.at(-1).readResponse()).status, 200);
  });
});
