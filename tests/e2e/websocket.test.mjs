// The WebSocket protocol frame by frame (RFC 6455): what must work and what must be refused.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, person, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import {
  closePayload, connect, encodeFrame, exchange, handshakeText, OPCODE, upgrade,
} from './support/raw.mjs';
import { openSocket } from './support/sockets.mjs';
import { notOverStack } from './support/server.mjs';

const ORIGIN = 'https://city.example';
const IDLE_MS = 2000;
const city = useCity({
  CORS_ORIGINS: ORIGIN,
  WS_IDLE_TIMEOUT_MS: IDLE_MS,
  WS_PING_INTERVAL_MS: 700,
});
const target = () => `/ws/city/presence?mode=rooms&token=${person(city).token}`;

async function open(t, changes) {
  const raw = await upgrade(city.server, target(), changes);
  closing(t, raw);
  await raw.readFrame(({ opcode, text }) => opcode === OPCODE.text && text.includes('"snapshot"'));
  return raw;
}

const pong = ({ opcode, text }) => opcode === OPCODE.text && text === 'pong';

/** After these bytes the server must close with the code, and end the connection. */
async function refused(t, code, act) {
  const raw = await open(t);
  await act(raw);
  assert.equal((await raw.readClose()).code, code);
  await raw.waitEnd();
}

describe('the handshake', () => {
  test('it is accepted with the right key and no extension', async (t) => {
    const raw = await open(t);
    assert.match(raw.upgradeHeaders.upgrade, /websocket/i);
    assert.match(raw.upgradeHeaders.connection, /upgrade/i);
    assert.equal(raw.upgradeHeaders['sec-websocket-protocol'], undefined);
  });

  test('tokens in the headers may have any case and company', async (t) => {
    await open(t, { Upgrade: 'h2c, WebSocket', Connection: 'keep-alive, uPGRADE' });
  });

  test('an extension that is offered and not understood is not accepted', async (t) => {
    const raw = await open(t, { 'Sec-WebSocket-Extensions': 'x-unknown; a=1, bogus' });
    assert.equal(raw.upgradeHeaders['sec-websocket-extensions'], undefined);
  });

  test('frames may follow the handshake in the same packet', async (t) => {
    const raw = await connect(city.server.publicPort);
    closing(t, raw);
    raw.send(Buffer.concat([Buffer.from(handshakeText(target())), encodeFrame(OPCODE.text, 'ping')]));
    assert.equal((await raw.readHead()).status, 101);
    await raw.readFrame(pong);
  });

  test('a subprotocol that is not ours is not selected', async (t) => {
    const raw = await open(t, { 'Sec-WebSocket-Protocol': 'chat, superchat' });
    assert.equal(raw.upgradeHeaders['sec-websocket-protocol'], undefined);
  });

  for (const [what, changes, statuses] of [
    ['no Upgrade', { Upgrade: null, Connection: null }, [426]],
    ['another Upgrade', { Upgrade: 'h2c' }, [400, 426]],
    ['no Connection', { Connection: null }, [400, 426]],
    ['a Connection without upgrade', { Connection: 'keep-alive' }, [400, 426]],
    ['no key', { 'Sec-WebSocket-Key': null }, [400]],
    ['an empty key', { 'Sec-WebSocket-Key': '' }, [400]],
    ['a key of 15 bytes', { 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') }, [400]],
    ['a key of 17 bytes', { 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') }, [400]],
    ['a key that is not base64', { 'Sec-WebSocket-Key': '!'.repeat(24) }, [400]],
    ['no version', { 'Sec-WebSocket-Version': null }, [400, 426]],
    ['version 8', { 'Sec-WebSocket-Version': '8' }, [426]],
    ['version 14', { 'Sec-WebSocket-Version': '14' }, [426]],
  ]) {
    const skip = / Connection/.test(what) && notOverStack('nginx makes the handshake with the city');
    test(`a handshake with ${what} is refused`, { skip }, async () => {
      const response = await exchange(
        city.server.publicPort,
        handshakeText(target(), changes),
        { path: '/ws/city/presence' },
      );
      assert.ok(statuses.includes(response.status), `${response.status} ${response.text}`);
      if (what.startsWith('version')) {
        assert.equal(response.headers['sec-websocket-version'], '13');
      }
    });
  }

  test('a handshake by POST is refused', async () => {
    const response = await exchange(city.server.publicPort, handshakeText(target(), {}, { method: 'POST' }));
    assertError(response, 405, 'method_not_allowed');
  });

  test('a handshake by HTTP/1.0 is refused', { skip: notOverStack('nginx makes the handshake with the city') }, async () => {
    const response = await exchange(city.server.publicPort, handshakeText(target(), {}, { version: 'HTTP/1.0' }));
    assert.ok([400, 426].includes(response.status));
  });

  test('a plain GET is told to upgrade', async () => {
    for (const path of ['/ws/city/rooms/general', '/ws/city/presence', '/ws/city/global-presence']) {
      assertError(await city.api.get(path), 426, 'upgrade_required');
    }
  });

  test('a handshake for a path that is no socket is an ordinary request', async () => {
    const response = await exchange(city.server.publicPort, handshakeText('/ws/nothing'));
    assertError(response, 404, 'not_found');
  });

  test('an origin on the list and the same host are allowed', async (t) => {
    await open(t, { Origin: ORIGIN });
    const { publicPort } = city.server;
    await open(t, { Host: `127.0.0.1:${publicPort}`, Origin: `http://127.0.0.1:${publicPort}` });
  });

  for (const origin of ['https://evil.example', `${ORIGIN}.evil.example`, 'http://city.example', 'null',
    'https://city.example:444', 'https://127.0.0.1.evil.example']) {
    test(`the origin ${origin} is refused`, async () => {
      const response = await exchange(
        city.server.publicPort,
        handshakeText(target(), { Origin: origin }),
        { path: '/ws/city/presence' },
      );
      assertError(response, 403, 'origin_forbidden');
    });
  }
});

describe('messages', () => {
  test('a message may come in many fragments, empty ones too', async (t) => {
    const raw = await open(t);
    raw.sendFrame(OPCODE.text, '', { fin: false });
    for (const letter of 'pin') {
      raw.sendFrame(OPCODE.continuation, letter, { fin: false });
    }
    raw.sendFrame(OPCODE.continuation, '', { fin: false });
    raw.sendFrame(OPCODE.continuation, 'g');
    await raw.readFrame(pong);
  });

  test('control frames between fragments are answered at once', async (t) => {
    const raw = await open(t);
    raw.sendFrame(OPCODE.text, 'pi', { fin: false });
    raw.sendFrame(OPCODE.ping, 'посередині');
    const answer = await raw.readFrame(({ opcode }) => opcode === OPCODE.pong);
    assert.equal(answer.text, 'посередині');
    raw.sendFrame(OPCODE.pong, 'unasked');
    raw.sendFrame(OPCODE.continuation, 'ng');
    await raw.readFrame(pong);
  });

  test('a code point may be cut between fragments', async (t) => {
    const raw = await open(t);
    const bytes = Buffer.from('{"type":"ping","note":"😀ї"}');
    for (let i = 0; i < bytes.length; i += 1) {
      raw.sendFrame(i === 0 ? OPCODE.text : OPCODE.continuation, bytes.subarray(i, i + 1), {
        fin: i === bytes.length - 1,
      });
    }
    await raw.readFrame(({ text }) => text.includes('"pong"'));
  });

  test('frames may arrive byte by byte', async (t) => {
    const raw = await open(t);
    for (const byte of encodeFrame(OPCODE.text, 'ping')) {
      raw.socket.write(Buffer.from([byte]));
    }
    await raw.readFrame(pong);
  });

  test('ninety frames may arrive in one packet', async (t) => {
    const raw = await open(t);
    raw.send(Buffer.concat(Array.from({ length: 90 }, () => encodeFrame(OPCODE.text, 'ping'))));
    for (let i = 0; i < 90; i += 1) {
      await raw.readFrame(pong);
    }
  });

  test('a ping is answered with its payload, 0 to 125 bytes', async (t) => {
    const raw = await open(t);
    for (const payload of ['', 'x', 'y'.repeat(125)]) {
      raw.sendFrame(OPCODE.ping, payload);
      const answer = await raw.readFrame(({ opcode }) => opcode === OPCODE.pong);
      assert.equal(answer.text, payload);
      assert.equal(answer.fin, true);
      assert.equal(answer.rsv, 0);
    }
  });

  test('a message of 65536 bytes is read, one more closes with 1009', async (t) => {
    const raw = await open(t);
    const fill = (length) => `{"type":"ping","x":"${'y'.repeat(length - 22)}"}`;
    assert.equal(fill(65536).length, 65536);
    raw.sendFrame(OPCODE.text, fill(65536));
    await raw.readFrame(({ text }) => text.includes('"pong"'));
    raw.sendFrame(OPCODE.text, fill(65537));
    assert.equal((await raw.readClose()).code, 1009);
    await raw.waitEnd();
  });
});

describe('closing', () => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1011, 3000, 3999, 4000, 4999]) {
    test(`a close with ${code} is answered with ${code} and the connection ends`, async (t) => {
      const raw = await open(t);
      raw.sendFrame(OPCODE.close, closePayload(code, 'до побачення'));
      assert.equal((await raw.readClose()).code, code);
      await raw.waitEnd();
    });
  }

  test('a close without a code is answered and the connection ends', async (t) => {
    const raw = await open(t);
    raw.sendFrame(OPCODE.close);
    assert.ok([1000, 1005].includes((await raw.readClose()).code));
    await raw.waitEnd();
  });

  test('what comes after a close is not heard', async (t) => {
    const raw = await open(t);
    raw.send(Buffer.concat([
      encodeFrame(OPCODE.close, closePayload(1000)),
      encodeFrame(OPCODE.text, 'ping'),
      encodeFrame(OPCODE.text, 'ping'),
    ]));
    const frame = await raw.readFrame(({ opcode, text }) => opcode === OPCODE.close || text === 'pong');
    assert.equal(frame.opcode, OPCODE.close);
    await raw.waitEnd();
    assert.equal(raw.input.length, 0);
  });

  test('a client that never answers our close is cut off', async (t) => {
    const raw = await open(t);
    raw.sendFrame(OPCODE.binary, 'x');
    assert.equal((await raw.readClose()).code, 1003);
    await raw.waitEnd(15_000);
  });

  for (const [what, payload] of [
    ['of one byte', Buffer.from([3])],
    ['with 1004', closePayload(1004)],
    ['with 1005', closePayload(1005)],
    ['with 1006', closePayload(1006)],
    ['with 1015', closePayload(1015)],
    ['with 999', closePayload(999)],
    ['with 0', closePayload(0)],
    ['with 2000', closePayload(2000)],
    ['with 5000', closePayload(5000)],
    ['with 65535', closePayload(65535)],
  ]) {
    test(`a close ${what} is a protocol error`, async (t) => {
      await refused(t, 1002, (raw) => raw.sendFrame(OPCODE.close, payload));
    });
  }

  test('a close with a reason that is not UTF-8 is 1007', async (t) => {
    await refused(t, 1007, (raw) => (
      raw.sendFrame(OPCODE.close, Buffer.concat([closePayload(1000), Buffer.from([0xff])]))));
  });
});

describe('violations', () => {
  const violation = (what, code, act) => {
    test(`${what} closes with ${code}`, (t) => refused(t, code, act));
  };

  violation('a frame that is not masked', 1002, (raw) => raw.sendFrame(OPCODE.text, 'ping', { mask: false }));
  violation('an unmasked ping', 1002, (raw) => raw.sendFrame(OPCODE.ping, '', { mask: false }));
  for (const rsv of [1, 2, 4, 7]) {
    violation(`reserved bits ${rsv}`, 1002, (raw) => raw.sendFrame(OPCODE.text, 'ping', { rsv }));
  }
  for (const opcode of [3, 7, 11, 15]) {
    violation(`opcode ${opcode}`, 1002, (raw) => raw.sendFrame(opcode, 'x'));
  }
  violation('a continuation of nothing', 1002, (raw) => raw.sendFrame(OPCODE.continuation, 'x'));
  violation('a new message before the last has ended', 1002, (raw) => {
    raw.sendFrame(OPCODE.text, 'x', { fin: false });
    raw.sendFrame(OPCODE.text, 'y');
  });
  violation('a ping in fragments', 1002, (raw) => raw.sendFrame(OPCODE.ping, 'x', { fin: false }));
  violation('a close in fragments', 1002, (raw) => raw.sendFrame(OPCODE.close, '', { fin: false }));
  violation('a ping of 126 bytes', 1002, (raw) => raw.sendFrame(OPCODE.ping, 'x'.repeat(126)));
  violation('a length with the highest bit', 1002, (raw) => {
    raw.send(Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4]));
  });
  violation('a length in 16 bits that fits into 7', 1002, (raw) => {
    raw.send(Buffer.from([0x81, 0x80 | 126, 0, 4, 0, 0, 0, 0, 0x70, 0x69, 0x6e, 0x67]));
  });
  violation('a length in 64 bits that fits into 16', 1002, (raw) => {
    raw.send(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0x70, 0x69, 0x6e, 0x67]));
  });
  violation('a binary message', 1003, (raw) => raw.sendFrame(OPCODE.binary, 'x'));
  for (const [what, bytes] of [
    ['a lone continuation byte', [0x80]],
    ['an overlong encoding', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a code point above the last', [0xf4, 0x90, 0x80, 0x80]],
    ['a cut sequence at the end', [0x61, 0xe2, 0x82]],
    ['0xff', [0xff]],
  ]) {
    violation(`text with ${what}`, 1007, (raw) => raw.sendFrame(OPCODE.text, Buffer.from(bytes)));
  }
  violation('text that breaks in its second fragment', 1007, (raw) => {
    raw.sendFrame(OPCODE.text, Buffer.from([0xce]), { fin: false });
    raw.sendFrame(OPCODE.continuation, Buffer.from([0x41]));
  });
  violation('a length of many gigabytes', 1009, (raw) => {
    raw.send(Buffer.from([0x81, 0xff, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 2, 3, 4]));
  });
  violation('fragments that are too much together', 1009, (raw) => {
    raw.sendFrame(OPCODE.text, 'x'.repeat(40000), { fin: false });
    raw.sendFrame(OPCODE.continuation, 'x'.repeat(40000));
  });

  test('random frames never stop the server', async () => {
    let seed = 7;
    const random = () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed >>> 24;
    };
    for (let i = 0; i < 60; i += 1) {
      const raw = await upgrade(city.server, target());
      raw.socket.end(Buffer.from(Array.from({ length: 1 + random() * 2 }, random)));
      await raw.waitEnd(15_000);
      raw.destroy();
    }
    await city.api.ok('GET', '/livez');
  });
});

describe('quiet peers', () => {
  test('the server pings, and a peer that answers stays', async (t) => {
    const raw = await open(t);
    // Five pings answered take longer than the idle time.
    for (let i = 0; i < 5; i += 1) {
      const ping = await raw.readFrame(({ opcode }) => opcode === OPCODE.ping);
      raw.sendFrame(OPCODE.pong, ping.payload);
    }
    raw.sendFrame(OPCODE.text, 'ping');
    await raw.readFrame(pong);
  });

  test('a peer that never answers is closed with 4409', async (t) => {
    const raw = await open(t);
    assert.deepEqual(await raw.readClose(15_000), { code: 4409, reason: 'idle_timeout' });
    await raw.waitEnd(15_000);
  });

  test('an ordinary client library stays open by itself', async (t) => {
    const socket = await openSocket(city.server, target());
    closing(t, socket);
    const quiet = await open(t);
    await quiet.readClose(15_000);
    await socket.barrier();
  });
});

describe('stopping', () => {
  test('sockets are closed with 1001 when the server stops', async (t) => {
    const sockets = [
      await openSocket(city.server, target()),
      await openSocket(city.server, `/ws/city/rooms/general?token=${person(city).token}`),
    ];
    closing(t, ...sockets);
    await Promise.all(sockets.map((socket) => socket.nextFrame()));
    await city.server.stop();
    for (const socket of sockets) {
      assert.equal((await socket.waitClosed()).code, 1001);
    }
    await city.server.start();
  });
});
