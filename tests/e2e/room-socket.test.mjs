// The room socket: snapshot, chat, arrivals, typing, presence, cursors and refusals.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  closing, framesOf, newRoom, person, settled, untilCounts, untilOnline, useCity,
} from './support/city.mjs';
import { goOnline, openRoom, openSocket } from './support/sockets.mjs';
import { makeToken } from './support/tokens.mjs';

const city = useCity({
  TYPING_LEASE_MS: 1500,
  PRESENCE_CLOSE_GRACE_MS: 1000,
  ROOM_PRESENCE_THROTTLE_MS: 100,
});

async function roomWith(t, count, { join = true } = {}) {
  const people = Array.from({ length: count }, (_, i) => person(city, `Людина ${i + 1}`));
  const room = await newRoom(city, people[0]);
  const sockets = [];
  for (const user of people) {
    sockets.push(await openRoom(city.server, room.slug, user, { join }));
  }
  closing(t, ...sockets);
  return { room, people, sockets };
}

const detailOf = (room) => city.api.ok('GET', `/api/city/rooms/${room.slug}`);
const by = (user) => (frame) => frame.user_id === user.id;

describe('opening', () => {
  test('the first frame is the snapshot of an empty room', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    const detail = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    assert.deepEqual(socket.snapshot, {
      event: 'room.snapshot',
      room_id: room.id,
      resumed: false,
      online_users: [],
      members_online: 0,
      away_count: 0,
      typing_users: [],
      epoch: detail.epoch,
      offset: 0,
    });
  });

  test('the snapshot shows who is there and who types', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.typing', typing: true });
    await sockets[1].nextFrame('RoomTyping');
    await untilOnline(city, room, 2);
    const guest = person(city);
    await settled(async () => {
      const late = await openRoom(city.server, room.id, guest);
      closing(t, late);
      const online = late.snapshot.online_users.sort((a, b) => a.username.localeCompare(b.username));
      assert.deepEqual(online, people.map((user) => (
        { user_id: user.id, username: user.name, status: 'online' })));
      assert.equal(late.snapshot.members_online, 2);
      assert.deepEqual(late.snapshot.typing_users, [
        { user_id: people[0].id, username: people[0].name },
      ]);
    });
  });

  test('without a token the socket closes with 4401 unauthorized', async () => {
    const socket = await openSocket(city.server, '/ws/city/rooms/general');
    assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'unauthorized' });
    assert.deepEqual(socket.frames, []);
  });

  test('with an expired token the socket closes with 4401 token_expired', async () => {
    const token = makeToken({ exp: Math.floor(Date.now() / 1000) - 10 });
    const socket = await openSocket(city.server, `/ws/city/rooms/general?token=${token}`);
    assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'token_expired' });
  });

  test('with a forged token the socket closes with 4401 unauthorized', async () => {
    const token = makeToken({}, { secret: 'another secret of a good length, or so' });
    const socket = await openSocket(city.server, `/ws/city/rooms/general?token=${token}`);
    assert.deepEqual(await socket.waitClosed(), { code: 4401, reason: 'unauthorized' });
  });

  test('of a room that does not exist the socket closes with 4404', async () => {
    const { token } = person(city);
    const socket = await openSocket(city.server, `/ws/city/rooms/nowhere?token=${token}`);
    assert.deepEqual(await socket.waitClosed(), { code: 4404, reason: 'room_not_found' });
  });
});

describe('chat', () => {
  test('a sent message is acknowledged to the sender alone and reaches all once', async (t) => {
    const { room, people, sockets } = await roomWith(t, 3);
    sockets[0].send({
      event: 'room.message.send', room_id: room.id, body: 'через сокет', idempotency_key: 'w-1',
    });
    const ack = await sockets[0].nextFrame('RoomMessageAck');
    assert.equal(ack.room_id, room.id);
    assert.equal(ack.idempotency_key, 'w-1');
    for (const socket of sockets) {
      const [frame] = await framesOf(socket, 'RoomMessage', 1);
      assert.equal(frame.message.id, ack.message_id);
      assert.equal(frame.message.body, 'через сокет');
      assert.equal(frame.message.user_id, people[0].id);
      assert.equal(frame.message.username, people[0].name);
      assert.equal(frame.offset, 1);
    }
    assert.equal(sockets[1].all('RoomMessageAck').length, 0);
    assert.deepEqual(await city.api.history(room.slug), [sockets[1].all('RoomMessage')[0].message]);
  });

  test('the body may be nested under data, the key may be missing', async (t) => {
    const { sockets } = await roomWith(t, 1, { join: false });
    sockets[0].send({ event: 'room.message.send', data: { body: 'вкладене' } });
    const ack = await sockets[0].nextFrame('RoomMessageAck');
    assert.equal(ack.idempotency_key, null);
    const [frame] = await framesOf(sockets[0], 'RoomMessage', 1);
    assert.equal(frame.message.body, 'вкладене');
  });

  test('a message sent over the socket stands in the feed', async (t) => {
    const { room, sockets } = await roomWith(t, 1);
    sockets[0].send({ event: 'room.message.send', body: 'у стрічку' });
    const ack = await sockets[0].nextFrame('RoomMessageAck');
    const feed = await city.api.ok('GET', '/api/city/feed?limit=20');
    const event = feed.find((other) => other.payload.message_id === ack.message_id);
    assert.equal(event.room_id, room.id);
    assert.equal(event.payload.body, 'у стрічку');
  });

  test('a retry with the same key is acknowledged with the first message and sent once', async (t) => {
    const { room, sockets } = await roomWith(t, 2);
    const frame = { event: 'room.message.send', body: 'ще раз', idempotency_key: 'retry' };
    for (let i = 0; i < 10; i += 1) {
      sockets[0].send(frame);
    }
    const ids = new Set();
    for (let i = 0; i < 10; i += 1) {
      ids.add((await sockets[0].nextFrame('RoomMessageAck')).message_id);
    }
    assert.equal(ids.size, 1);
    await framesOf(sockets[1], 'RoomMessage', 1);
    assert.equal((await city.api.history(room.slug)).length, 1);
  });

  test('many authors at once: every socket sees every message once, in the order of positions', async (t) => {
    const { room, sockets } = await roomWith(t, 5);
    for (let i = 0; i < 40; i += 1) {
      for (const [n, socket] of sockets.entries()) {
        socket.send({ event: 'room.message.send', body: `${n}:${i}`, idempotency_key: `${n}:${i}` });
      }
    }
    const expected = Array.from({ length: 200 }, (_, i) => i + 1);
    for (const socket of sockets) {
      await socket.nextFrame((frame) => frame.event === 'room.message' && frame.offset === 200, 30_000);
      assert.deepEqual(socket.all('RoomMessage').map((frame) => frame.offset), expected);
    }
    assert.deepEqual(
      (await city.api.history(room.slug)).map((message) => message.offset),
      expected,
    );
    // What one author sends keeps its order.
    const own = sockets[4].all('RoomMessage').map((frame) => frame.message.body)
      .filter((body) => body.startsWith('0:'));
    assert.deepEqual(own, Array.from({ length: 40 }, (_, i) => `0:${i}`));
  });

  test('only messages advance the offset of a room', async (t) => {
    const { sockets, people } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.message.send', body: 'перше' });
    await sockets[1].nextFrame('RoomMessage');
    sockets[0].send({ event: 'room.typing', typing: true });
    assert.equal((await sockets[1].nextFrame('RoomTyping')).offset, 1);
    sockets[0].send({ event: 'room.leave' });
    const leave = await sockets[1].nextFrame((frame) => frame.event === 'room.leave' && by(people[0])(frame));
    assert.equal(leave.offset, 1);
    assert.equal(leave.epoch, sockets[1].snapshot.epoch);
    const epochs = new Set(sockets[1].frames.map(({ frame }) => frame.epoch));
    epochs.delete(undefined);
    assert.equal(epochs.size, 1);
  });
});

describe('arrivals', () => {
  test('joining is told to all, the one that joins too, and counts', async (t) => {
    const { room, people, sockets } = await roomWith(t, 1);
    const guest = person(city, 'Новенька');
    const theirs = await openRoom(city.server, room.slug, guest);
    closing(t, theirs);
    theirs.send({ event: 'room.join', room_id: room.slug });
    for (const socket of [theirs, sockets[0]]) {
      const frame = await socket.nextFrame((f) => f.event === 'room.join' && by(guest)(f));
      assert.equal(frame.room_id, room.id);
      assert.equal(frame.username, 'Новенька');
    }
    await untilOnline(city, room, 2);
    await settled(async () => {
      const detail = await detailOf(room);
      assert.equal(detail.members_online, 2);
      assert.deepEqual(detail.online_members.sort(), [people[0].id, guest.id].sort());
      const rooms = await city.api.ok('GET', '/api/city/rooms?limit=500');
      assert.equal(rooms.find((other) => other.id === room.id).members_online, 2);
    });
  });

  test('leaving is told to all and the socket stays open', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.leave', room_id: room.id });
    for (const socket of sockets) {
      const frame = await socket.nextFrame((f) => f.event === 'room.leave' && by(people[0])(f));
      assert.equal(frame.username, people[0].name);
    }
    await untilOnline(city, room, 1);
    await settled(async () => assert.equal((await detailOf(room)).members_online, 1));
    sockets[1].send({ event: 'room.message.send', body: 'ти ще чуєш?' });
    await sockets[0].nextFrame('RoomMessage');
  });

  test('who only listens does not count as a member', async (t) => {
    const { room } = await roomWith(t, 2, { join: false });
    await settled(async () => assert.equal((await detailOf(room)).members_online, 0));
  });

  test('two sockets of one person are one member, who leaves with the last of them', async (t) => {
    const { room, people, sockets } = await roomWith(t, 1);
    const twin = person(city);
    const first = await openRoom(city.server, room.slug, twin, { join: true });
    const second = await openRoom(city.server, room.slug, twin);
    closing(t, first, second);
    second.send({ event: 'room.join' });
    await second.nextFrame((frame) => frame.event === 'room.join' && by(twin)(frame));
    await untilOnline(city, room, 2);
    await settled(async () => assert.equal((await detailOf(room)).members_online, 2));
    first.send({ event: 'room.leave' });
    await first.barrier();
    await sockets[0].barrier();
    await settled(async () => assert.equal((await detailOf(room)).members_online, 2));
    assert.equal(sockets[0].all('RoomLeave').length, 0);
    second.send({ event: 'room.leave' });
    await sockets[0].nextFrame((frame) => frame.event === 'room.leave' && by(twin)(frame));
    await untilOnline(city, room, 1);
    assert.equal(sockets[0].all('RoomLeave').length, 1);
    assert.equal(sockets[0].all('RoomJoin').filter(by(twin)).length, 1);
    await settled(async () => assert.deepEqual((await detailOf(room)).online_members, [people[0].id]));
  });

  test('a closed socket leaves after the grace', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    await sockets[1].close();
    const frame = await sockets[0].nextFrame((f) => f.event === 'room.leave' && by(people[1])(f));
    assert.equal(frame.room_id, room.id);
    await untilOnline(city, room, 1);
    await settled(async () => assert.equal((await detailOf(room)).members_online, 1));
  });

  test('a reload within the grace is not seen by others', async (t) => {
    const { room, people, sockets } = await roomWith(t, 3);
    const [watcher, reloader, marker] = sockets;
    reloader.terminate();
    const again = await openRoom(city.server, room.slug, people[1]);
    closing(t, again);
    again.send({ event: 'room.join' });
    await again.nextFrame((frame) => frame.event === 'room.join' && by(people[1])(frame));
    // The marker closes later, so when its grace is over the reloader's has been over for a while.
    marker.terminate();
    await watcher.nextFrame((frame) => frame.event === 'room.leave' && by(people[2])(frame));
    assert.deepEqual(watcher.all('RoomLeave').map((frame) => frame.user_id), [people[2].id]);
    await settled(async () => {
      const { online_members: members } = await detailOf(room);
      assert.deepEqual(members.sort(), [people[0].id, people[1].id].sort());
    });
  });

  test('join and leave over HTTP are told to the sockets', async (t) => {
    const { room, sockets } = await roomWith(t, 1);
    const guest = person(city, 'Через HTTP');
    await guest.api.ok('POST', `/api/city/rooms/${room.slug}/join`, {});
    const joined = await sockets[0].nextFrame((f) => f.event === 'room.join' && by(guest)(f));
    assert.equal(joined.username, 'Через HTTP');
    await guest.api.ok('POST', `/api/city/rooms/${room.slug}/leave`, {});
    await sockets[0].nextFrame((f) => f.event === 'room.leave' && by(guest)(f));
  });
});

describe('typing', () => {
  test('typing is told with its end, and shows in the detail', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.typing', typing: true });
    const begun = await sockets[1].nextFrame('RoomTyping');
    assert.equal(begun.user_id, people[0].id);
    assert.equal(begun.username, people[0].name);
    assert.equal(begun.typing, true);
    await untilCounts(city, room, (counts) => counts.typing_count === 1);
    await settled(async () => assert.equal((await detailOf(room)).typing_count, 1));
    sockets[0].send({ event: 'room.typing', typing: false });
    assert.equal((await sockets[1].nextFrame('RoomTyping')).typing, false);
    await untilCounts(city, room, (counts) => counts.typing_count === 0);
    await settled(async () => assert.equal((await detailOf(room)).typing_count, 0));
  });

  test('typing that is not renewed ends by itself', async (t) => {
    const { people, sockets } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.typing', typing: true });
    assert.equal((await sockets[1].nextFrame('RoomTyping')).typing, true);
    const ended = await sockets[1].nextFrame('RoomTyping');
    assert.equal(ended.user_id, people[0].id);
    assert.equal(ended.typing, false);
  });

  test('typing again while typing is not told twice', async (t) => {
    const { sockets } = await roomWith(t, 2);
    for (let i = 0; i < 5; i += 1) {
      sockets[0].send({ event: 'room.typing', typing: true });
    }
    await sockets[1].nextFrame((frame, name) => name === 'RoomTyping' && frame.typing);
    // The end of typing comes after whatever was told of its beginning.
    sockets[0].send({ event: 'room.typing', typing: false });
    await sockets[1].nextFrame((frame, name) => name === 'RoomTyping' && !frame.typing);
    assert.equal(sockets[1].all('RoomTyping').filter((frame) => frame.typing).length, 1);
  });

  test('leaving ends typing', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    sockets[0].send({ event: 'room.typing', typing: true });
    await sockets[1].nextFrame('RoomTyping');
    sockets[0].send({ event: 'room.leave' });
    await sockets[1].nextFrame((frame) => frame.event === 'room.leave' && by(people[0])(frame));
    await untilCounts(city, room, (counts) => counts.online_count === 1);
    await settled(async () => assert.equal((await detailOf(room)).typing_count, 0));
  });
});

describe('presence of members', () => {
  test('a member who goes away is told to the room and still counts', async (t) => {
    const { room, people, sockets } = await roomWith(t, 1);
    const idle = person(city, 'Відійшла');
    const theirs = await openRoom(city.server, room.slug, idle, { join: true });
    // What the join says of him is told before the presence socket listens.
    await untilCounts(city, room, (counts) => counts.online_count === 2);
    const presence = await goOnline(city.server, idle);
    closing(t, theirs, presence);
    presence.send({ event: 'presence.heartbeat', status: 'away' });
    // The room socket alone holds its user online until the presence socket says more.
    const told = await presence.nextFrame((f) => f.event === 'presence.update' && by(idle)(f));
    assert.equal(told.status, 'away');
    const frame = await sockets[0].nextFrame((f) => f.event === 'room.presence' && f.status === 'away');
    assert.equal(frame.user_id, idle.id);
    assert.equal(frame.username, 'Відійшла');
    await untilCounts(city, room, (counts) => counts.away_count === 1);
    await settled(async () => {
      const detail = await detailOf(room);
      assert.equal(detail.members_online, 2);
      assert.equal(detail.away_count, 1);
      assert.ok(detail.online_members.includes(people[0].id));
    });
    presence.send({ event: 'presence.heartbeat', status: 'online' });
    const back = await sockets[0].nextFrame((f) => f.event === 'room.presence' && f.status === 'online');
    assert.equal(back.user_id, idle.id);
  });
});

describe('resuming', () => {
  test('a good cursor gives exactly the missed messages in order', async (t) => {
    const { room, people, sockets } = await roomWith(t, 2);
    for (let i = 1; i <= 3; i += 1) {
      await people[0].api.say(room.slug, `до ${i}`);
    }
    const seen = await sockets[1].nextFrame((frame) => frame.event === 'room.message' && frame.offset === 3);
    sockets[1].terminate();
    const missed = [];
    for (let i = 1; i <= 7; i += 1) {
      missed.push(await people[0].api.say(room.slug, `після ${i}`));
    }
    const again = await openRoom(city.server, room.slug, people[1], { epoch: seen.epoch, offset: seen.offset });
    closing(t, again);
    assert.equal(again.reset, undefined);
    assert.equal(again.snapshot.resumed, true);
    await again.nextFrame((frame) => frame.event === 'room.message' && frame.offset === 10);
    assert.deepEqual(again.all('RoomMessage').map((frame) => frame.message), missed);
    const live = await people[0].api.say(room.slug, 'наживо');
    assert.deepEqual((await again.nextFrame('RoomMessage')).message, live);
    await again.barrier();
    assert.equal(again.all('RoomMessage').length, 8);
  });

  test('a cursor at the head resumes with nothing missed', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    await user.api.say(room.slug, 'останнє');
    const { epoch, offset } = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    const socket = await openRoom(city.server, room.slug, user, { epoch, offset });
    closing(t, socket);
    assert.equal(socket.snapshot.resumed, true);
    assert.equal(socket.snapshot.offset, offset);
    await socket.barrier();
    assert.deepEqual(socket.all('RoomMessage'), []);
  });

  for (const [what, target, said] of [
    ['the detail', '', (answer) => answer.messages],
    ['the page of messages', '/messages', (answer) => answer.items],
  ]) {
    test(`nothing is missed between ${what} and the socket while others write`, async (t) => {
      const writers = [person(city), person(city), person(city)];
      const reader = person(city);
      const room = await newRoom(city, writers[0]);
      const writing = Promise.all(writers.map(async (writer) => {
        for (let i = 0; i < 50; i += 1) {
          await writer.api.say(room.slug, `потік ${i}`);
        }
      }));
      const readers = [];
      for (let i = 0; i < 12; i += 1) {
        const answer = await city.api.ok('GET', `/api/city/rooms/${room.slug}${target}`);
        const socket = await openRoom(city.server, room.slug, reader, answer);
        closing(t, socket);
        assert.equal(socket.snapshot.resumed, true);
        readers.push({ answer, socket });
      }
      await writing;
      for (const { answer, socket } of readers) {
        if (answer.offset < 150) {
          await socket.nextFrame((frame) => frame.event === 'room.message' && frame.offset === 150);
        }
        // The answer may show messages behind its own cursor: those come twice, none is left out.
        const offsets = [...new Set([
          ...said(answer).map((message) => message.offset),
          ...socket.all('RoomMessage').map((frame) => frame.message.offset),
        ])];
        const first = offsets[0];
        assert.deepEqual(offsets, Array.from({ length: 151 - first }, (_, i) => first + i));
      }
    });
  }

  test('a cursor of another epoch is answered with reset and a fresh snapshot', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    await user.api.say(room.slug, 'щось');
    const socket = await openRoom(city.server, room.slug, user, { epoch: '01JD3V5K0Z8QW2N7X4T6R9Y1AB', offset: 0 });
    closing(t, socket);
    assert.equal(socket.reset.reason, 'epoch_changed');
    assert.equal(socket.snapshot.resumed, false);
    assert.equal(socket.snapshot.offset, 1);
    assert.equal(socket.reset.epoch, socket.snapshot.epoch);
    assert.equal(socket.reset.offset, socket.snapshot.offset);
    await socket.barrier();
    assert.deepEqual(socket.all('RoomMessage'), []);
  });

  for (const offset of [2, 999999999, '9007199254740993', '18446744073709551616', '-1', 'abc', '']) {
    test(`a cursor at ${JSON.stringify(offset)} of a room with one message is answered with reset`, async (t) => {
      const user = person(city);
      const room = await newRoom(city, user);
      await user.api.say(room.slug, 'одне');
      const { epoch } = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
      const socket = await openRoom(city.server, room.slug, user, { epoch, offset });
      closing(t, socket);
      assert.equal(socket.reset?.reason, 'offset_unknown');
      assert.equal(socket.snapshot.resumed, false);
      assert.equal(socket.snapshot.offset, 1);
    });
  }

  test('a thousand missed messages are replayed, one more is too far behind', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const { epoch } = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    const writers = Array.from({ length: 20 }, () => person(city));
    await Promise.all(writers.map(async (writer) => {
      for (let i = 0; i < 50; i += 1) {
        await writer.api.say(room.slug, `довга історія ${i}`);
      }
    }));
    const whole = await openRoom(city.server, room.slug, user, { epoch, offset: 0 });
    closing(t, whole);
    assert.equal(whole.snapshot.resumed, true);
    await whole.nextFrame((frame) => frame.event === 'room.message' && frame.offset === 1000, 20_000);
    assert.deepEqual(
      whole.all('RoomMessage').map((frame) => frame.offset),
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    await user.api.say(room.slug, 'ще одне');
    await whole.nextFrame((frame) => frame.event === 'room.message' && frame.offset === 1001);
    const behind = await openRoom(city.server, room.slug, user, { epoch, offset: 0 });
    closing(t, behind);
    assert.equal(behind.reset.reason, 'too_far_behind');
    assert.equal(behind.snapshot.offset, 1001);
    const near = await openRoom(city.server, room.slug, user, { epoch, offset: 1 });
    closing(t, near);
    assert.equal(near.snapshot.resumed, true);
  });
});

describe('frames that are refused', () => {
  const refused = (name, frame, error, more = () => {}) => {
    test(`${name}: ${error}, and the socket stays open`, async (t) => {
      const { room, sockets } = await roomWith(t, 2);
      sockets[0].send(typeof frame === 'function' ? frame(room) : frame);
      const answer = await sockets[0].nextFrame('RoomError');
      assert.equal(answer.error, error);
      more(answer);
      await sockets[0].barrier();
      await sockets[1].barrier();
      assert.equal(sockets[1].all('RoomError').length, 0);
      assert.equal(sockets[1].all('RoomMessage').length, 0);
      assert.deepEqual(await city.api.history(room.slug), []);
    });
  };
  const send = (fields) => ({ event: 'room.message.send', ...fields });

  refused('an event that nobody knows', { event: 'room.dance' }, 'unknown_event');
  refused('a type that nobody knows', { type: 'dance' }, 'unknown_event');
  refused('neither event nor type', { room_id: 'general' }, 'unknown_event');
  refused('text that is not JSON', 'hello', 'invalid_json');
  refused('an empty text', '', 'invalid_json');
  refused('JSON that is cut', '{"event":"room.join"', 'invalid_json');
  refused('two values in one frame', '{"event":"ping"}{"event":"ping"}', 'invalid_json');
  refused('JSON nested too deep', `{"event":"ping","x":${'['.repeat(40)}${']'.repeat(40)}}`, 'invalid_json');
  for (const text of ['null', '[]', '[1]', '1', 'true', '"room.join"']) {
    test(`JSON that is no object (${text}) is answered with an error, and the socket stays open`, async (t) => {
      const { sockets } = await roomWith(t, 1);
      sockets[0].send(text);
      const answer = await sockets[0].nextFrame('RoomError');
      assert.ok(['invalid_input', 'unknown_event'].includes(answer.error), answer.error);
      await sockets[0].barrier();
    });
  }
  refused('a number as event', { event: 5 }, 'unknown_event');
  refused('a message without body', send({}), 'invalid_input');
  refused('a message with an empty body', send({ body: '' }), 'invalid_input');
  refused('a message of 10001 code points', send({ body: 'x'.repeat(10001) }), 'invalid_input');
  refused('a message with a NUL', send({ body: 'a\u0000' }), 'invalid_input');
  refused('a message with a number as body', send({ body: 7 }), 'invalid_input');
  refused('a message with data that is no object', send({ data: 'x' }), 'invalid_input');
  refused('a key of 129', send({ body: 'x', idempotency_key: 'k'.repeat(129) }), 'invalid_input');
  refused(
    'a refused message with a key',
    send({ body: '', idempotency_key: 'mine' }),
    'invalid_input',
    (answer) => assert.equal(answer.idempotency_key, 'mine'),
  );
  refused('a message for another room', send({ body: 'x', room_id: 'room_city_general' }), 'room_mismatch');
  refused('joining another room', { event: 'room.join', room_id: 'general' }, 'room_mismatch');
  refused('a message as somebody else', send({ body: 'x', user_id: 'u_else' }), 'user_mismatch');
  refused('joining as somebody else', { event: 'room.join', user_id: 'u_else' }, 'user_mismatch');
  refused('typing without saying whether', { event: 'room.typing' }, 'invalid_input');
  refused('typing "yes"', { event: 'room.typing', typing: 'yes' }, 'invalid_input');

  test('10000 code points of four bytes fit into one frame', async (t) => {
    const { sockets } = await roomWith(t, 1);
    const body = '😀'.repeat(10000);
    sockets[0].send({ event: 'room.message.send', body });
    assert.equal((await sockets[0].nextFrame('RoomMessage')).message.body, body);
  });
});

describe('pings', () => {
  test('all three forms of ping have their own pong', async (t) => {
    const { sockets } = await roomWith(t, 1, { join: false });
    sockets[0].send({ event: 'ping' });
    await sockets[0].nextFrame('Pong');
    sockets[0].send({ type: 'ping' });
    await sockets[0].nextFrame('TypePong');
    sockets[0].send('ping');
    await sockets[0].nextFrame('TextPong');
  });
});
