// The presence socket: both vocabularies, modes, leases, throttle, feed and cursors.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, newRoom, person, settled, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import { hasReplicas } from './support/server.mjs';
import { goOnline, openPresence, openRoom, openSocket } from './support/sockets.mjs';
import { makeToken } from './support/tokens.mjs';

const LEASE_MS = 2000;
const GRACE_MS = 500;
const WINDOW_MS = 400;
const city = useCity({
  PRESENCE_LEASE_MS: LEASE_MS,
  PRESENCE_CLOSE_GRACE_MS: GRACE_MS,
  ROOM_PRESENCE_THROTTLE_MS: WINDOW_MS,
});

const update = (user, status) => (frame) => frame.event === 'presence.update'
  && frame.user_id === user.id && frame.status === status;
const counts = (room, fits) => (frame) => frame.type === 'room.presence'
  && frame.room_id === room.id && fits(frame);

/** Beats in the background so that the lease does not end while a test looks. */
function keepBeating(t, socket, status = 'online') {
  const timer = setInterval(() => {
    if (!socket.closed) {
      socket.send({ event: 'presence.heartbeat', status });
    }
  }, LEASE_MS / 4);
  t.after(() => clearInterval(timer));
}

async function online(t, user, options) {
  const socket = await goOnline(city.server, user, options);
  closing(t, socket);
  keepBeating(t, socket, options?.status);
  return socket;
}

async function watch(t, parameters, at, user = person(city)) {
  const socket = await openPresence(city.server, user, parameters, at);
  closing(t, socket);
  return socket;
}

describe('opening', () => {
  test('the snapshot has every room, those with nobody in them too, then come the users', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await watch(t, {}, undefined, user);
    const snapshot = await socket.nextFrame();
    assert.equal(snapshot.type, 'snapshot');
    const rooms = await user.api.ok('GET', '/api/city/rooms?limit=500');
    assert.deepEqual(
      snapshot.rooms.map((entry) => entry.room_slug).sort(),
      rooms.map((entry) => entry.slug).sort(),
    );
    assert.deepEqual(snapshot.rooms.find((entry) => entry.room_id === room.id), {
      room_slug: room.slug,
      room_id: room.id,
      online_count: 0,
      away_count: 0,
      typing_count: 0,
      typing_users: [],
    });
    assert.equal((await socket.nextFrame()).event, 'presence.bulk_update');
  });

  test('a latecomer sees who is online, and the totals agree', async (t) => {
    const early = person(city);
    await online(t, early);
    const reader = person(city);
    await settled(async () => {
      const late = await watch(t, {}, undefined, reader);
      const snapshot = await late.nextFrame('PresenceSnapshot');
      const bulk = await late.nextFrame('PresenceBulkUpdate');
      assert.equal(bulk.truncated, false);
      assert.deepEqual(bulk.users.find((user) => user.user_id === early.id), {
        user_id: early.id, status: 'online',
      });
      assert.ok(bulk.users.every((user) => user.status !== 'offline'));
      assert.ok(snapshot.city.online_total >= 1);
    });
  });

  test('mode=heartbeat has only frames with event', async (t) => {
    const socket = await watch(t, { mode: 'heartbeat' });
    assert.equal((await socket.nextFrame()).event, 'presence.bulk_update');
    const user = person(city);
    const room = await newRoom(city, user);
    closing(t, await openRoom(city.server, room.slug, user, { join: true }));
    await socket.nextFrame(update(user, 'online'));
    await socket.barrier();
    assert.deepEqual(socket.frames.filter(({ frame }) => frame.type !== undefined), []);
  });

  for (const [at, parameters] of [
    ['/ws/city/presence', { mode: 'rooms' }],
    ['/ws/city/global-presence', {}],
  ]) {
    test(`${at} with ${JSON.stringify(parameters)} has only frames with type`, async (t) => {
      const socket = await watch(t, parameters, at);
      assert.equal((await socket.nextFrame()).type, 'snapshot');
      const user = person(city);
      const room = await newRoom(city, user);
      closing(t, await openRoom(city.server, room.slug, user, { join: true }));
      await socket.nextFrame(counts(room, (frame) => frame.online_count === 1));
      assert.deepEqual(socket.frames.filter(({ frame }) => frame.event !== undefined), []);
    });
  }

  test('without a token the socket closes with 4401', async () => {
    for (const at of ['/ws/city/presence', '/ws/city/global-presence']) {
      const socket = await openSocket(city.server, at);
      assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'unauthorized' });
      assert.deepEqual(socket.frames, []);
    }
  });

  test('with an expired token the socket closes with 4401 token_expired', async () => {
    const token = makeToken({ exp: Math.floor(Date.now() / 1000) - 10 });
    const socket = await openSocket(city.server, `/ws/city/presence?token=${token}`);
    assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'token_expired' });
  });
});

describe('heartbeats', () => {
  test('the first heartbeat is told to others as online, the next ones are not', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const socket = await goOnline(city.server, user);
    closing(t, socket);
    await watcher.nextFrame(update(user, 'online'));
    for (let i = 0; i < 5; i += 1) {
      socket.send({ event: 'presence.heartbeat', user_id: user.id });
    }
    await socket.barrier();
    await watcher.barrier();
    assert.equal(watcher.all('UserPresenceUpdate').filter((f) => f.user_id === user.id).length, 1);
  });

  test('a user who is online already is told again on the first heartbeat of a new socket', async (t) => {
    const user = person(city);
    await online(t, user);
    // It is no news to other replicas: those at this one are told, he himself at least.
    const watcher = await watch(t, {}, undefined, hasReplicas ? user : person(city));
    await watcher.nextFrame('PresenceBulkUpdate');
    closing(t, await goOnline(city.server, user));
    await watcher.nextFrame(update(user, 'online'));
  });

  test('away is told and counts as online and as away', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const room = await newRoom(city, user);
    const presence = await online(t, user, { status: 'away' });
    closing(t, presence, await openRoom(city.server, room.slug, user, { join: true }));
    await watcher.nextFrame(update(user, 'away'));
    await watcher.nextFrame(counts(room, (frame) => frame.online_count === 1 && frame.away_count === 1));
    await settled(async () => {
      const summary = await city.api.ok('GET', '/presence/summary');
      const entry = summary.rooms.find((other) => other.room_id === room.id);
      assert.deepEqual([entry?.online, entry?.away], [1, 1]);
      assert.ok(summary.city.away_total >= 1);
    });
  });

  test('online on one socket outweighs away on another', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    await online(t, user, { status: 'away' });
    await watcher.nextFrame(update(user, 'away'));
    const active = await goOnline(city.server, user);
    closing(t, active);
    await watcher.nextFrame(update(user, 'online'));
    await active.close();
    await watcher.nextFrame(update(user, 'away'));
  });

  test('without heartbeats the user is offline when the lease ends, not before', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const socket = await openPresence(city.server, user);
    closing(t, socket);
    const sent = performance.now();
    socket.send({ event: 'presence.heartbeat' });
    await watcher.nextFrame(update(user, 'online'));
    await watcher.nextFrame(update(user, 'offline'), LEASE_MS + 1000 + 4000);
    const passed = performance.now() - sent;
    // That it is told within a second of the end: tests/unit/roles/test_people.c, beside a timer of the same loop.
    assert.ok(passed >= LEASE_MS - 50, `offline after ${passed} ms`);
    t.diagnostic(`offline ${Math.round(passed - LEASE_MS)} ms after the end of the lease`);
  });

  test('heartbeats hold the lease', async (t) => {
    const watcher = await watch(t);
    const holder = person(city);
    const marker = person(city);
    await online(t, holder);
    closing(t, await goOnline(city.server, marker));
    // The marker never beats again: when its lease ends, the holder would have ended too.
    await watcher.nextFrame(update(marker, 'offline'), LEASE_MS + 5000);
    assert.equal(watcher.frames.filter(({ frame }) => update(holder, 'offline')(frame)).length, 0);
  });

  test('a closed socket ends its session after the grace', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const socket = await goOnline(city.server, user);
    await watcher.nextFrame(update(user, 'online'));
    await socket.close();
    await watcher.nextFrame(update(user, 'offline'));
  });

  test('another socket of the same user holds the session', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const marker = person(city);
    await online(t, user);
    const second = await goOnline(city.server, user);
    second.terminate();
    const markerSocket = await goOnline(city.server, marker);
    markerSocket.terminate();
    await watcher.nextFrame(update(marker, 'offline'));
    assert.equal(watcher.frames.filter(({ frame }) => update(user, 'offline')(frame)).length, 0);
  });

  test('a heartbeat for somebody else is refused and changes nothing', async (t) => {
    const watcher = await watch(t);
    const liar = person(city);
    const victim = person(city);
    const socket = await openPresence(city.server, liar);
    closing(t, socket);
    socket.send({ event: 'presence.heartbeat', user_id: victim.id });
    const error = await socket.nextFrame('PresenceError');
    assert.equal(error.error, 'user_mismatch');
    await socket.barrier();
    await watcher.barrier();
    for (const frame of watcher.all('UserPresenceUpdate')) {
      assert.notEqual(frame.user_id, victim.id);
      assert.notEqual(frame.user_id, liar.id);
    }
  });

  for (const [what, frame, error] of [
    ['a status that nobody knows', { event: 'presence.heartbeat', status: 'busy' }, 'invalid_input'],
    ['offline as a status', { event: 'presence.heartbeat', status: 'offline' }, 'invalid_input'],
    ['a number as status', { event: 'presence.heartbeat', status: 1 }, 'invalid_input'],
    ['an event that nobody knows', { event: 'presence.dance' }, 'unknown_event'],
    ['an event of the other socket', { event: 'room.join' }, 'unknown_event'],
    ['text that is not JSON', 'hello', 'invalid_json'],
  ]) {
    test(`${what} is answered with ${error}, and the socket stays open`, async (t) => {
      const socket = await openPresence(city.server, person(city));
      closing(t, socket);
      socket.send(frame);
      assert.equal((await socket.nextFrame('PresenceError')).error, error);
      await socket.barrier();
    });
  }

  test('all three forms of ping have their own pong, in each mode', async (t) => {
    for (const parameters of [{}, { mode: 'heartbeat' }, { mode: 'rooms' }]) {
      const socket = await watch(t, parameters);
      socket.send({ event: 'ping' });
      await socket.nextFrame('Pong');
      socket.send({ type: 'ping' });
      await socket.nextFrame('TypePong');
      socket.send('ping');
      await socket.nextFrame('TextPong');
    }
  });
});

describe('counts of rooms and of the city', () => {
  test('joining and leaving a room changes its count', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    const frame = await watcher.nextFrame(counts(room, (f) => f.online_count === 1));
    assert.equal(frame.room_slug, room.slug);
    assert.ok(Math.abs(frame.last_event_ts - Date.now()) < 600_000, 'last_event_ts is in ms');
    socket.send({ event: 'room.leave' });
    await watcher.nextFrame(counts(room, (f) => f.online_count === 0));
  });

  test('typing shows with its users', async (t) => {
    const watcher = await watch(t);
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    socket.send({ event: 'room.typing', typing: true });
    const frame = await watcher.nextFrame(counts(room, (f) => f.typing_count === 1));
    assert.deepEqual(frame.typing_users, [user.id]);
    socket.send({ event: 'room.typing', typing: false });
    await watcher.nextFrame(counts(room, (f) => f.typing_count === 0));
  });

  test('the totals of the city are sent when they change', async (t) => {
    const watcher = await watch(t, { mode: 'rooms' });
    const { city: before } = await watcher.nextFrame('PresenceSnapshot');
    await online(t, person(city));
    const frame = await watcher.nextFrame('CityPresence');
    assert.notDeepEqual(
      { online_total: frame.online_total, away_total: frame.away_total },
      before,
    );
  });

  test('a burst is sent at most once in a window, never twice the same, and the last state arrives', async (t) => {
    const watcher = await watch(t, { mode: 'rooms' });
    await watcher.nextFrame('PresenceSnapshot');
    const people = Array.from({ length: 12 }, () => person(city));
    const room = await newRoom(city, people[0]);
    const begun = performance.now();
    const sockets = await Promise.all(people.map((user) => openRoom(city.server, room.slug, user)));
    closing(t, ...sockets);
    for (const socket of sockets) {
      socket.send({ event: 'room.join' });
      socket.send({ event: 'room.leave' });
      socket.send({ event: 'room.join' });
    }
    await watcher.nextFrame(counts(room, (f) => f.online_count === 12));
    const windows = Math.ceil((performance.now() - begun) / WINDOW_MS) + 1;
    const states = watcher.all('RoomPresenceCounts').filter((frame) => frame.room_id === room.id)
      .map(({ online_count: n, away_count: away, typing_count: typing }) => `${n} ${away} ${typing}`);
    assert.ok(states.length <= windows, `${states.length} frames in ${windows} windows`);
    for (let i = 1; i < states.length; i += 1) {
      assert.notEqual(states[i], states[i - 1]);
    }
    assert.equal(states.at(-1), '12 0 0');
  });
});

describe('a city with one person', () => {
  const quiet = useCity({ ROOM_PRESENCE_THROTTLE_MS: WINDOW_MS });

  test('in two rooms and on three sockets the person counts once', async (t) => {
    const user = person(quiet);
    const rooms = [await newRoom(quiet, user), await newRoom(quiet, user)];
    const watcher = await openPresence(quiet.server, person(quiet), { mode: 'rooms' });
    closing(t, watcher, await goOnline(quiet.server, user));
    for (const room of rooms) {
      closing(t, await openRoom(quiet.server, room.slug, user, { join: true }));
      await watcher.nextFrame(counts(room, (frame) => frame.online_count === 1));
    }
    const reader = person(quiet);
    await settled(async () => {
      const late = await openPresence(quiet.server, reader, { mode: 'rooms' });
      closing(t, late);
      const snapshot = await late.nextFrame('PresenceSnapshot');
      assert.equal(snapshot.city.online_total, 1);
    });
    assert.deepEqual(
      watcher.all('CityPresence').map((frame) => frame.online_total).filter((total) => total > 1),
      [],
    );
  });
});

describe('feed=1', () => {
  test('feed events and new rooms are sent to those who asked for them only', async (t) => {
    const listener = await watch(t, { feed: 1 });
    const global = await watch(t, { feed: 1 }, '/ws/city/global-presence');
    const other = await watch(t);
    const user = person(city, 'Оленка');
    const room = await newRoom(city, user);
    const message = await user.api.say(room.slug, 'новина');
    for (const socket of [listener, global]) {
      const created = await socket.nextFrame((frame) => frame.type === 'room.created'
        && frame.room.id === room.id);
      // A replica may have heard the message first: it tells of the room as it knows it.
      const { last_event: at, last_message: last } = hasReplicas ? created.room : room;
      assert.deepEqual(created.room, { ...room, last_event: at, last_message: last });
      await socket.nextFrame((frame) => frame.type === 'feed.event'
        && frame.event.payload.message_id === message.id);
      const events = socket.all('FeedEventFrame').map((frame) => frame.event)
        .filter((event) => event.room_id === room.id);
      assert.deepEqual(events.map((event) => event.kind), ['system', 'room_message']);
      const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
      assert.deepEqual(events, feed.filter((event) => event.room_id === room.id).reverse());
    }
    await other.barrier();
    assert.deepEqual(other.all('FeedEventFrame'), []);
  });
});

describe('resuming', () => {
  test('with the last cursor only the rooms that changed follow', async (t) => {
    const user = person(city);
    const quiet = await newRoom(city, user);
    const busy = await newRoom(city, user);
    const reader = person(city); // who comes back is the same, and meets the same replica
    const before = await watch(t, { mode: 'rooms' }, undefined, reader);
    const snapshot = await before.nextFrame('PresenceSnapshot');
    const cursor = { epoch: snapshot.epoch, offset: snapshot.offset };
    before.terminate();
    const room = await openRoom(city.server, busy.slug, user, { join: true });
    const meanwhile = await watch(t, { mode: 'rooms' }, undefined, reader);
    closing(t, room);
    await meanwhile.nextFrame((frame) => (frame.type === 'snapshot'
      && frame.rooms.some((entry) => entry.room_id === busy.id && entry.online_count === 1))
      || counts(busy, (f) => f.online_count === 1)(frame));
    const again = await watch(t, { mode: 'rooms', ...cursor }, undefined, reader);
    assert.equal((await again.nextFrame()).type, 'resumed');
    await again.nextFrame(counts(busy, (frame) => frame.online_count === 1));
    await again.barrier();
    assert.deepEqual(again.all('PresenceSnapshot'), []);
    assert.equal(again.all('RoomPresenceCounts').filter((f) => f.room_id === quiet.id).length, 0);
    assert.ok(again.all('RoomPresenceCounts').every((frame) => frame.offset > cursor.offset));
  });

  for (const [what, cursor, reason] of [
    ['of another epoch', { epoch: '01JD3V5K0Z8QW2N7X4T6R9Y1AB', offset: 1 }, 'epoch_changed'],
    ['ahead of the server', { offset: 9007199254740991 }, 'offset_unknown'],
    ['that is no number', { offset: 'abc' }, 'offset_unknown'],
  ]) {
    test(`a cursor ${what} is answered with reset and the snapshot`, async (t) => {
      const reader = person(city);
      const first = await watch(t, { mode: 'rooms' }, undefined, reader);
      const { epoch } = await first.nextFrame('PresenceSnapshot');
      const socket = await watch(t, { mode: 'rooms', epoch, ...cursor }, undefined, reader);
      const reset = await socket.nextFrame();
      assert.equal(reset.type, 'reset');
      assert.equal(reset.reason, reason);
      assert.equal((await socket.nextFrame()).type, 'snapshot');
    });
  }

  test('offsets of one epoch never go back on one connection', async (t) => {
    const watcher = await watch(t, { feed: 1 });
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user, { join: true });
    closing(t, socket);
    await watcher.nextFrame(counts(room, (f) => f.online_count === 1));
    await user.api.say(room.slug, 'крок');
    socket.send({ event: 'room.leave' });
    await watcher.nextFrame(counts(room, (f) => f.online_count === 0));
    await watcher.barrier();
    const epochs = new Set(watcher.frames.map(({ frame }) => frame.epoch));
    for (const epoch of epochs) {
      const offsets = watcher.frames.filter(({ frame }) => frame.epoch === epoch)
        .map(({ frame }) => frame.offset);
      assert.deepEqual(offsets, [...offsets].sort((a, b) => a - b));
    }
  });

  test('another process has another epoch', async (t) => {
    const before = await watch(t, { mode: 'rooms' });
    const { epoch, offset } = await before.nextFrame('PresenceSnapshot');
    await city.server.stop();
    await city.server.start();
    const socket = await watch(t, { mode: 'rooms', epoch, offset });
    const reset = await socket.nextFrame();
    assert.equal(reset.reason, 'epoch_changed');
    assert.notEqual(reset.epoch, epoch);
  });
});

describe('a page that is closed', () => {
  const leave = (user, json) => user.api.post('/api/city/presence/leave', json);

  test('ends its sockets, which may be dead, and no other page\'s', async (t) => {
    const [watcher, user] = [await watch(t), person(city)];
    const first = await goOnline(city.server, user, { parameters: { page: 'first' } });
    const room = await openRoom(city.server, 'general', user, { page: 'first', join: true });
    const second = await goOnline(city.server, user, { parameters: { page: 'second' } });
    closing(t, first, room, second);
    await watcher.nextFrame(update(user, 'online'));
    assert.deepEqual((await leave(user, { page: 'first' })).json, { ok: true });
    second.send({ event: 'presence.heartbeat', status: 'away' });
    await watcher.nextFrame(update(user, 'away')); // nobody else of his is here any more
    assert.equal((await leave(user, { page: 'second' })).status, 200);
    await watcher.nextFrame(update(user, 'offline'), GRACE_MS + LEASE_MS / 4);
  });

  test('is not seen to go when it is only loaded again', async (t) => {
    const [watcher, user] = [await watch(t), person(city)];
    const page = await goOnline(city.server, user, { parameters: { page: 'before' } });
    closing(t, page);
    await watcher.nextFrame(update(user, 'online'));
    await leave(user, { page: 'before' });
    const seen = watcher.frames.length;
    const again = await goOnline(city.server, user, { parameters: { page: 'after' } });
    closing(t, again);
    again.send({ event: 'presence.heartbeat', status: 'away' });
    keepBeating(t, again, 'away'); // it shows when the closed page's grace is over
    await watcher.nextFrame(update(user, 'away'), GRACE_MS + LEASE_MS);
    const since = watcher.frames.slice(seen).map((entry) => entry.frame)
      .filter((frame) => frame.event === 'presence.update' && frame.user_id === user.id);
    assert.ok(since.every((frame) => frame.status !== 'offline'), JSON.stringify(since));
  });

  test('is its own person\'s to end, whatever its key is', async (t) => {
    const [watcher, user, other] = [await watch(t), person(city), person(city)];
    const mine = await online(t, user, { parameters: { page: 'same' } });
    await watcher.nextFrame(update(user, 'online'));
    await leave(other, { page: 'same' });
    await leave(other, { page: 'unknown' });
    mine.send({ event: 'presence.heartbeat', status: 'away' });
    await watcher.nextFrame(update(user, 'away'));
    assertError(await city.api.post('/api/city/presence/leave', { page: 'same' }), 401, 'unauthorized');
    assertError(await leave(other, { page: 'same', user_id: user.id }), 403, 'user_mismatch');
    for (const body of [{}, { page: '' }, { page: 'x'.repeat(65) }, { page: 7 }, { page: 'a\nb' }]) {
      assertError(await leave(other, body), 422, 'invalid_input', 'page');
    }
  });
});
