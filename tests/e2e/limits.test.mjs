// Rate limits and slow readers: who goes too far is told so, and nobody else notices.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, newRoom, person, settled, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import { encodeFrame, OPCODE, upgrade } from './support/raw.mjs';
import { hasReplicas, notOverStack } from './support/server.mjs';
import { openRoom, openSocket } from './support/sockets.mjs';

describe('rate limits', () => {
  const BURST = 5;
  const city = useCity({
    LIMIT_MESSAGES_PER_S: 1,
    LIMIT_MESSAGES_BURST: BURST,
    LIMIT_GUESTS_PER_S: 1,
    LIMIT_GUESTS_BURST: BURST,
    LIMIT_ROOMS_PER_S: 1,
    LIMIT_ROOMS_BURST: BURST,
    LIMIT_PRESENCE_PER_S: 1,
    LIMIT_PRESENCE_BURST: BURST,
  });
  const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });

  /** Calls until it is refused; returns [granted, refusal]. */
  async function untilRefused(call) {
    for (let granted = 0; granted < 100; granted += 1) {
      const response = await call();
      if (response.status !== 200) {
        return [granted, response];
      }
    }
    throw new Error('never refused');
  }

  test('messages over HTTP: the burst passes, then 429 says how long to wait, and waiting helps', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const path = `/api/city/rooms/${room.slug}/messages`;
    const call = () => user.api.post(path, { body: 'швидко' });
    const [granted, refusal] = await untilRefused(call);
    assert.ok(granted >= BURST, `${granted}`);
    assertError(refusal, 429, 'rate_limited');
    assert.equal((await city.api.history(room.slug)).length, granted);
    const other = person(city);
    await other.api.say(room.slug, 'інша людина може');
    await pause(Number(refusal.headers['retry-after']));
    assert.equal((await call()).status, 200);
  });

  test('messages over a socket: the refusal has the key and the time to wait, the socket stays open', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    for (let i = 0; i < BURST + 3; i += 1) {
      socket.send({ event: 'room.message.send', body: `${i}`, idempotency_key: `k${i}` });
    }
    const error = await socket.nextFrame('RoomError');
    assert.equal(error.error, 'rate_limited');
    assert.match(error.idempotency_key, /^k\d$/);
    assert.ok(error.retry_after_ms > 0);
    // Every send is answered: an acknowledgement waits for its commit, a refusal does not.
    const answered = () => socket.all('RoomMessageAck').length + socket.all('RoomError').length;
    while (answered() < BURST + 3) {
      await socket.nextFrame();
    }
    assert.equal(answered(), BURST + 3);
    await pause(error.retry_after_ms / 1000 + 0.05);
    socket.send({ event: 'room.message.send', body: 'знову', idempotency_key: error.idempotency_key });
    const ack = await socket.nextFrame('RoomMessageAck');
    assert.ok(ack.message_id);
  });

  test('HTTP and socket draw from one bucket', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    await untilRefused(() => user.api.post(`/api/city/rooms/${room.slug}/messages`, { body: 'x' }));
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    for (let i = 0; i < 3; i += 1) {
      socket.send({ event: 'room.message.send', body: 'ще' });
    }
    assert.equal((await socket.nextFrame('RoomError')).error, 'rate_limited');
  });

  test('rooms: a user who creates too many is told to wait, another user is not', async () => {
    const user = person(city);
    const [granted, refusal] = await untilRefused(() => user.api.post('/api/city/rooms', { name: 'Багато' }));
    assert.ok(granted >= BURST);
    assertError(refusal, 429, 'rate_limited');
    await person(city).api.createRoom('Одна');
  });

  test('joins, leaves and typing marks: one bucket of a user for HTTP and all his sockets', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const watcher = await openRoom(city.server, room.slug, person(city));
    const sockets = [await openRoom(city.server, room.slug, user), await openRoom(city.server, room.slug, user)];
    closing(t, watcher, ...sockets);
    const path = `/api/city/rooms/${room.slug}`;
    await user.api.ok('POST', `${path}/join`, {}); // one of five
    sockets[0].send({ event: 'room.join' });
    await sockets[0].nextFrame('RoomJoin');
    sockets[0].send({ event: 'room.typing', typing: true });
    sockets[1].send({ event: 'room.leave' });
    const calls = [];
    for (let i = 0; i < 4; i += 1) {
      calls.push((await user.api.post(`${path}/${i % 2 ? 'join' : 'leave'}`, {})).status);
    }
    assert.equal(calls.at(-1), 429, calls.join());
    assertError(await user.api.post(`${path}/leave`, {}), 429, 'rate_limited');
    sockets[0].send({ event: 'room.typing', typing: false });
    const error = await sockets[0].nextFrame('RoomError');
    assert.equal(error.error, 'rate_limited');
    assert.ok(error.retry_after_ms > 0);
    await person(city).api.ok('POST', `${path}/join`, {}); // others have buckets of their own
    await pause(error.retry_after_ms / 1000 + 0.05);
    sockets[0].send({ event: 'room.join' });
    await sockets[0].nextFrame('RoomJoin');
  });

  test('guests: an address that asks for too many is told to wait', async () => {
    const call = () => city.api.post('/api/auth/guest', { display_name: 'Гість' });
    const [granted, refusal] = await untilRefused(call);
    assert.ok(granted >= BURST);
    assertError(refusal, 429, 'rate_limited');
    await pause(Number(refusal.headers['retry-after']));
    assert.equal((await call()).status, 200);
  });
});

describe('rooms that nobody knows', () => {
  // Each is looked up before it is said not to exist: another replica may have made it a moment ago.
  const city = useCity({ LIMIT_SOCKETS_PER_USER: 0 });
  const AT_ONCE = 50;

  test('an address that asks for too many is told to wait, not that they do not exist', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const answers = await Promise.all(Array.from({ length: 4 * AT_ONCE }, (_, i) => city.api.get(`/api/city/rooms/nowhere-${i}`)));
    const missing = answers.filter(({ status }) => status === 404);
    const refused = answers.filter(({ status }) => status !== 404);
    assert.ok(missing.length >= AT_ONCE && refused.length > 0, `${missing.length} and ${refused.length}`);
    missing.forEach((answer) => assertError(answer, 404, 'room_not_found'));
    refused.forEach((answer) => assertError(answer, 429, 'rate_limited'));
    assert.ok(refused.every(({ headers }) => Number(headers['retry-after']) >= 1));
    // One that is known costs nothing; another replica knows it when it has heard of it.
    await settled(() => city.api.ok('GET', `/api/city/rooms/${room.slug}`));
  });

  test('so are sockets: 4429 says to come again, 4404 would not', async () => {
    const user = person(city);
    const closed = await Promise.all(Array.from({ length: 3 * AT_ONCE }, async (_, i) => {
      const socket = await openSocket(city.server, `/ws/city/rooms/nowhere-${i}?token=${user.token}`);
      const { code, reason } = await socket.waitClosed();
      return `${code} ${reason}`;
    }));
    assert.deepEqual([...new Set(closed)].sort(), ['4404 room_not_found', '4429 rate_limited']);
  });
});

describe('sockets of one person', () => {
  const LIMIT = 3;
  const city = useCity({ LIMIT_SOCKETS_PER_USER: LIMIT });

  test('one more than the limit is closed with 4429, and a place becomes free when one closes', async (t) => {
    const user = person(city);
    const open = (path) => openSocket(city.server, `${path}?token=${user.token}`);
    const paths = ['/ws/city/rooms/general', '/ws/city/presence', '/ws/city/global-presence'];
    const sockets = await Promise.all(paths.map(open));
    closing(t, ...sockets);
    for (const path of paths) {
      const late = await open(path);
      assert.deepEqual(await late.waitClosed(), { code: 4429, reason: 'too_many_sockets' });
    }
    closing(t, await openRoom(city.server, 'general', person(city))); // others are not concerned
    await sockets[0].close();
    // The place is free when the server has seen the end of it: the closing handshake is over by then.
    const again = await open(paths[0]);
    closing(t, again);
    await again.nextFrame('RoomSnapshot');
    const late = await open(paths[0]);
    assert.equal((await late.waitClosed()).code, 4429);
  });

  test('more than 100 frames in a second are refused one by one, more than 200 close with 4429', async (t) => {
    const socket = await openRoom(city.server, 'general', person(city));
    closing(t, socket);
    for (let i = 0; i < 150; i += 1) {
      socket.send({ event: 'ping' });
    }
    const error = await socket.nextFrame('RoomError');
    assert.equal(error.error, 'rate_limited');
    assert.ok(error.retry_after_ms > 0 && error.retry_after_ms <= 1000);
    for (let i = 0; i < 2000 && !socket.closed; i += 1) {
      socket.send({ event: 'ping' });
      if (i % 50 === 0) {
        await new Promise(setImmediate); // who does not read the close is cut off after two seconds
      }
    }
    assert.deepEqual(await socket.waitClosed(), { code: 4429, reason: 'rate_limited' });
  });

  test('pings of WebSocket are frames too: a flood of them is told, then closed with 4429', async (t) => {
    const raw = await upgrade(city.server, `/ws/city/presence?mode=rooms&token=${person(city).token}`);
    closing(t, raw);
    const pings = (count) => raw.send(Buffer.concat(Array.from({ length: count }, () => encodeFrame(OPCODE.ping, 'x'))));
    pings(110);
    const error = await raw.readFrame(({ text }) => text.includes('"error"'));
    assert.equal(JSON.parse(error.text).error, 'rate_limited');
    for (let i = 0; i < 50; i += 1) {
      pings(50);
    }
    assert.deepEqual(await raw.readClose(), { code: 4429, reason: 'rate_limited' });
  });
});

describe('slow readers', () => {
  const city = useCity({ STREAM_QUEUE_BYTES: 262144 });

  const skip = notOverStack('it looks into the metrics of one process');
  test('a socket that does not read is closed with 4408 and a cursor, others get everything', { skip }, async (t) => {
    const writer = person(city);
    const slow = person(city);
    const room = await newRoom(city, writer);
    const fast = await openRoom(city.server, room.slug, person(city));
    closing(t, fast);
    const raw = await upgrade(city.server, `/ws/city/rooms/${room.slug}?token=${slow.token}`);
    closing(t, raw);
    await raw.readFrame(({ text }) => text.includes('room.snapshot'));
    raw.socket.pause();

    // 40 KB each: what the kernel holds for one connection is full long before the end.
    const body = '😀'.repeat(10000);
    const writers = Array.from({ length: 4 }, () => person(city));
    const COUNT = 600;
    let slowClosed = false;
    let next = 0;
    await Promise.all(writers.map(async (user) => {
      while (next < COUNT && !slowClosed) {
        next += 1;
        await user.api.say(room.slug, body);
        if (next % 10 === 0) {
          const { text } = await city.internal.get('/metrics');
          slowClosed = /^daarion_\w*slow\w*(\{[^}]*\})? [1-9]/m.test(text);
        }
      }
    }));
    assert.ok(slowClosed, 'the server has noticed the slow reader and counted it');
    raw.socket.resume();
    const offsets = [];
    const close = await raw.readFrame(({ opcode, text }) => {
      if (opcode === OPCODE.text) {
        const frame = JSON.parse(text);
        if (frame.event === 'room.message') {
          offsets.push(frame.offset);
        }
      }
      return opcode === OPCODE.close;
    }, 20_000);
    assert.equal(close.payload.readUInt16BE(0), 4408);
    const reason = close.payload.subarray(2).toString();
    const match = /^slow_consumer offset=(\d+)$/.exec(reason);
    assert.ok(match, reason);
    assert.deepEqual(offsets, Array.from({ length: offsets.length }, (_, i) => i + 1));
    assert.equal(Number(match[1]), offsets.at(-1), 'the cursor is the last message that was sent');

    const { offset, epoch } = await city.api.ok('GET', `/api/city/rooms/${room.slug}/messages?limit=1`);
    if (offset > 0) {
      await fast.nextFrame((frame) => frame.event === 'room.message' && frame.offset === offset, 30_000);
    }
    assert.deepEqual(
      fast.all('RoomMessage').map((frame) => frame.offset),
      Array.from({ length: offset }, (_, i) => i + 1),
    );
    const again = await openRoom(city.server, room.slug, slow, { epoch, offset: offsets.at(-1) });
    closing(t, again);
    assert.equal(again.snapshot.resumed, true);
    await again.nextFrame((frame) => frame.event === 'room.message' && frame.offset === offset, 30_000);
    assert.equal(again.all('RoomMessage')[0].offset, offsets.at(-1) + 1);
  });

  test('a presence socket that does not read is conflated: it ends with the last state', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const raw = await upgrade(city.server, `/ws/city/presence?mode=rooms&token=${person(city).token}`);
    closing(t, raw);
    await raw.readFrame(({ text }) => text.includes('"snapshot"'));
    raw.socket.pause();
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    raw.socket.resume();
    await raw.readFrame(({ opcode, text }) => {
      if (opcode !== OPCODE.text) {
        return false;
      }
      const frame = JSON.parse(text);
      return frame.type === 'room.presence' && frame.room_id === room.id && frame.online_count === 1;
    });
  });
});

describe('too many connections', { skip: notOverStack('they are connections of nginx there') }, () => {
  const city = useCity({ MAX_CONNECTIONS: 40 });

  test('connections above MAX_CONNECTIONS are told 503, and places become free again', async (t) => {
    const { connect } = await import('./support/raw.mjs');
    const open = [];
    t.after(() => open.forEach((raw) => raw.destroy()));
    let refused = 0;
    for (let i = 0; i < 60; i += 1) {
      const raw = await connect(city.server.publicPort);
      open.push(raw);
      raw.send('GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
      const response = await raw.readResponse().catch(() => null);
      if (!response || response.status === 503) {
        refused += 1;
      } else {
        assert.equal(response.status, 200);
      }
    }
    assert.ok(refused >= 20 && refused < 60, `${refused} refused`);
    for (const raw of open.splice(0)) {
      raw.socket.end();
      await raw.waitEnd();
    }
    await city.api.ok('GET', '/livez');
  });
});

describe('whose request it is behind a proxy', () => {
  const limits = { LIMIT_GUESTS_PER_S: 1, LIMIT_GUESTS_BURST: 3 };
  const behind = useCity({ ...limits, TRUSTED_PROXIES: '127.0.0.0/8' });
  const open = hasReplicas ? behind : useCity(limits);

  async function guests(city, forwardedFor) {
    const answers = [];
    for (const address of forwardedFor) {
      const response = await city.api.post(
        '/api/auth/guest',
        { display_name: 'Гість' },
        { headers: { 'X-Forwarded-For': address } },
      );
      answers.push(response.status);
    }
    return answers;
  }
  const many = Array.from({ length: 20 }, (_, i) => `198.51.100.${i}`);

  test('the proxy is trusted: each client has a limit of its own', async () => {
    assert.deepEqual(await guests(behind, many), many.map(() => 200));
    const same = await guests(behind, many.map(() => '203.0.113.7'));
    assert.equal(same.at(0), 200);
    assert.ok(same.includes(429), 'one client is limited');
    // What the client itself put in front of the list is not believed.
    const forged = await guests(behind, many.map((address) => `${address}, 203.0.113.8`));
    assert.ok(forged.includes(429), 'a forged address in front does not help');
  });

  test('nobody is trusted: the header is only a claim', { skip: notOverStack('nginx is') }, async () => {
    assert.ok((await guests(open, many)).includes(429));
  });
});
