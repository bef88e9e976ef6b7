// What was acknowledged survives kill -9, once; clients resume where they were.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  closing, newRoom, person, untilOnline, useCity,
} from './support/city.mjs';
import { Client } from './support/http.mjs';
import { openRoom, openSocket } from './support/sockets.mjs';

const city = useCity();

/** Posts until the connection breaks; what was answered with 200 goes to acknowledged. */
async function postUntilDeath(user, room, name, acknowledged) {
  for (let i = 0; ; i += 1) {
    const key = `${name}-${i}`;
    try {
      const message = await user.api.say(room.slug, key, key);
      acknowledged.set(key, message);
    } catch {
      return key; // this one may or may not be stored
    }
  }
}

/** The same over a socket; waits when it is told to. */
async function sendUntilDeath(user, room, name, acknowledged) {
  const socket = await openRoom(city.server, room.slug, user);
  for (let i = 0; ; i += 1) {
    const key = `${name}-${i}`;
    try {
      for (;;) {
        socket.send({ event: 'room.message.send', body: key, idempotency_key: key });
        const answer = await socket.nextFrame((frame) => frame.event === 'error'
          || (frame.event === 'room.message.ack' && frame.idempotency_key === key));
        if (answer.event === 'room.message.ack') {
          acknowledged.set(key, { id: answer.message_id });
          break;
        }
        assert.equal(answer.error, 'rate_limited');
        await new Promise((resolve) => { setTimeout(resolve, answer.retry_after_ms); });
      }
    } catch (error) {
      assert.notEqual(error.name, 'AssertionError', error.message);
      if (socket.failure) {
        throw error;
      }
      return key;
    }
  }
}

describe('kill -9 while twenty write', () => {
  for (let round = 1; round <= 3; round += 1) {
    test(`round ${round}: every acknowledged message is there once, positions have no gap, and readers resume`, async (t) => {
      const owner = person(city);
      const room = await newRoom(city, owner);
      const reader = person(city);
      const watching = await openRoom(city.server, room.slug, reader);
      closing(t, watching);
      const acknowledged = new Map();
      const writers = Array.from({ length: 20 }, () => person(city));
      const work = writers.map((user, i) => (i % 2 === 0
        ? postUntilDeath(user, room, `http${i}`, acknowledged)
        : sendUntilDeath(user, room, `ws${i}`, acknowledged)));
      await watching.nextFrame((frame) => frame.event === 'room.message' && frame.offset >= 100 * round, 60_000);
      await city.server.kill();
      const pending = await Promise.all(work);
      await watching.waitClosed();
      const received = watching.all('RoomMessage').map((frame) => frame.message);
      await city.server.start();

      const history = await city.api.history(room.slug);
      assert.deepEqual(
        history.map((message) => message.offset),
        Array.from({ length: history.length }, (_, i) => i + 1),
      );
      const bodies = history.map((message) => message.body);
      assert.equal(new Set(bodies).size, bodies.length, 'no message twice');
      const byBody = new Map(history.map((message) => [message.body, message]));
      for (const [key, message] of acknowledged) {
        assert.equal(byBody.get(key)?.id, message.id, `${key} was acknowledged`);
      }
      assert.ok(acknowledged.size >= 50, `${acknowledged.size} acknowledged`);
      // Whatever was shown to a reader is stored.
      assert.deepEqual(received, history.slice(0, received.length));
      assert.ok(history.length - acknowledged.size <= writers.length);

      // The reader goes on from its last frame and gets exactly the rest.
      const last = watching.frames.at(-1).frame;
      const again = await openRoom(city.server, room.slug, reader, { epoch: last.epoch, offset: last.offset });
      closing(t, again);
      assert.equal(again.reset, undefined, 'the epoch of a room outlives the process');
      await again.barrier();
      assert.deepEqual(
        again.all('RoomMessage').map((frame) => frame.message),
        history.slice(last.offset),
      );

      // Each writer repeats what it is not sure of: stored once in the end.
      await Promise.all(writers.map((user, i) => (
        new Client(city.server.publicUrl, user).say(room.slug, pending[i], pending[i]))));
      const final = await city.api.history(room.slug);
      assert.equal(new Set(final.map((message) => message.body)).size, final.length);
      assert.deepEqual(
        final.map((message) => message.offset),
        Array.from({ length: final.length }, (_, i) => i + 1),
      );
      for (const key of pending) {
        assert.ok(final.some((message) => message.body === key));
      }
      const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
      const told = feed.filter((event) => event.room_id === room.id && event.kind === 'room_message');
      const ids = new Set(final.map((message) => message.id));
      assert.ok(told.every((event) => ids.has(event.payload.message_id)));
      assert.equal(new Set(told.map((event) => event.payload.message_id)).size, told.length);
    });
  }
});

test('rooms, messages, feed and epochs survive an ordinary stop', async () => {
  const user = person(city);
  const room = await newRoom(city, user);
  const message = await user.api.say(room.slug, 'назавжди');
  const before = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
  const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
  await city.server.stop();
  await city.server.start();
  const afterwards = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
  assert.deepEqual(afterwards.messages, [message]);
  assert.equal(afterwards.epoch, before.epoch);
  assert.equal(afterwards.offset, before.offset);
  assert.deepEqual(await city.api.ok('GET', '/api/city/feed?limit=100'), feed);
});

describe('presence after kill -9', () => {
  const brief = useCity({ PRESENCE_LEASE_MS: 2000, PRESENCE_LEADER_LEASE_MS: 1000, ROOM_PRESENCE_THROTTLE_MS: 300 });

  test('nobody is online for longer than the lease', async () => {
    const user = person(brief);
    const room = await newRoom(brief, user);
    await openRoom(brief.server, room.slug, user, { join: true });
    await untilOnline(brief, room, 1);
    assert.equal((await brief.api.ok('GET', `/api/city/rooms/${room.slug}`)).members_online, 1);
    await brief.server.kill();
    await brief.server.start();
    await untilOnline(brief, room, 0);
    assert.equal((await brief.api.ok('GET', `/api/city/rooms/${room.slug}`)).members_online, 0);
  });
});

test('stopping waits for the writes that were accepted', async () => {
  const users = Array.from({ length: 10 }, () => person(city));
  const room = await newRoom(city, users[0]);
  const acknowledged = new Map();
  const watching = await openRoom(city.server, room.slug, users[0]);
  const work = users.map((user, i) => postUntilDeath(user, room, `stop${i}`, acknowledged));
  await watching.nextFrame((frame) => frame.event === 'room.message' && frame.offset >= 50, 60_000);
  await city.server.stop();
  await Promise.all(work);
  await city.server.start();
  const history = await city.api.history(room.slug);
  const ids = new Set(history.map((message) => message.id));
  for (const [key, message] of acknowledged) {
    assert.ok(ids.has(message.id), `${key} was acknowledged`);
  }
  await openSocket(city.server, `/ws/city/presence?token=${users[0].token}`).then((s) => s.close());
});
