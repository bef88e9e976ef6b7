// Presence as one document and as server-sent events.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  closing, newRoom, person, settled, untilOnline, useCity,
} from './support/city.mjs';
import { EventStream } from './support/events.mjs';
import { hasReplicas } from './support/server.mjs';
import { openRoom } from './support/sockets.mjs';

const city = useCity({ PRESENCE_CLOSE_GRACE_MS: 500, PRESENCE_SUMMARY_INTERVAL_MS: 200, ROOM_PRESENCE_THROTTLE_MS: 100 });

async function open(t, pathname = '/presence/stream') {
  const stream = await EventStream.open(city.server, pathname);
  closing(t, stream);
  return stream;
}

const roomIs = (room, fits) => (data) => data.rooms.some((r) => r.room_id === room.id && fits(r));

describe('the summary', () => {
  for (const pathname of ['/presence/summary', '/presence/snapshot', '/api/presence/summary',
    '/api/presence/snapshot']) {
    test(`${pathname} has every room and the city`, async () => {
      const summary = await city.api.ok('GET', pathname);
      const rooms = await city.api.ok('GET', '/api/city/rooms?limit=500');
      assert.deepEqual(
        summary.rooms.map((room) => room.room_id).sort(),
        rooms.map((room) => room.id).sort(),
      );
      assert.deepEqual(summary.agents, []);
      assert.equal(summary.city.agents_online, 0);
      assert.ok(Math.abs(Date.parse(summary.timestamp) - Date.now()) < 600_000);
    });
  }

  test('it counts who is in a room, and the rooms that are alive', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    await settled(async () => {
      const before = await city.api.ok('GET', '/presence/summary');
      assert.equal(before.rooms.find((other) => other.room_id === room.id)?.online, 0);
    });
    closing(t, await openRoom(city.server, room.slug, user, { join: true }));
    await untilOnline(city, room, 1);
    await settled(async () => {
      const summary = await city.api.ok('GET', '/presence/summary');
      assert.deepEqual(summary.rooms.find((other) => other.room_id === room.id), {
        room_id: room.id,
        room_slug: room.slug,
        matrix_room_id: null,
        online: 1,
        away: 0,
        typing: 0,
        agents: [],
      });
      const alive = summary.rooms.filter((other) => other.online > 0).length;
      assert.equal(summary.city.rooms_online, alive);
      assert.ok(summary.city.online_total >= 1);
    });
  });
});

describe('the stream', () => {
  for (const pathname of ['/presence/stream', '/api/presence/stream']) {
    test(`${pathname} begins with the whole state at once`, async (t) => {
      const stream = await open(t, pathname);
      assert.equal(stream.status, 200);
      assert.match(stream.headers['content-type'], /^text\/event-stream/);
      assert.match(stream.headers['cache-control'], /no-cache/);
      assert.equal(stream.headers['x-accel-buffering'], hasReplicas ? undefined : 'no', 'nginx keeps it to itself');
      const data = await stream.nextEvent();
      const rooms = await city.api.ok('GET', '/api/city/rooms?limit=500');
      assert.equal(data.rooms.length, rooms.length);
    });
  }

  test('a change comes as a new event with a greater offset', async (t) => {
    const stream = await open(t);
    const first = await stream.nextEvent();
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    const joined = await stream.nextEvent(roomIs(room, (entry) => entry.online === 1));
    assert.equal(joined.epoch, first.epoch);
    assert.ok(joined.offset > first.offset);
    socket.send({ event: 'room.typing', typing: true });
    await stream.nextEvent(roomIs(room, (entry) => entry.typing === 1));
    socket.send({ event: 'room.leave' });
    const left = await stream.nextEvent(roomIs(room, (entry) => entry.online === 0));
    assert.ok(left.offset > joined.offset);
  });

  test('a hundred changes in a moment come as few events, the last state among them', async (t) => {
    const stream = await open(t);
    await stream.nextEvent();
    const people = Array.from({ length: 25 }, () => person(city));
    const room = await newRoom(city, people[0]);
    const sockets = await Promise.all(people.map((user) => openRoom(city.server, room.slug, user)));
    closing(t, ...sockets);
    const begun = performance.now();
    for (const socket of sockets) {
      socket.send({ event: 'room.join' });
      socket.send({ event: 'room.leave' });
      socket.send({ event: 'room.join' });
    }
    let events = 0;
    await stream.nextEvent((data) => {
      events += 1;
      return roomIs(room, (entry) => entry.online === 25)(data);
    });
    const intervals = Math.ceil((performance.now() - begun) / 200) + 2;
    assert.ok(events <= intervals, `${events} events in ${intervals} intervals`);
  });

  test('silence is broken by a keep-alive comment', async (t) => {
    const stream = await open(t);
    for (;;) {
      const { comment } = await stream.next(40_000);
      if (comment !== undefined) {
        assert.equal(comment, 'keep-alive');
        break;
      }
    }
  });

  test('the stream ends when the server stops, and the server stops in order', async (t) => {
    const stream = await open(t);
    await stream.nextEvent();
    await city.server.stop();
    await stream.waitEnd();
    await city.server.start();
  });
});
