// Two city-services over one NATS: who comes, goes and types at one is seen at the other, once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closing } from '../e2e/support/city.mjs';
import { openRoom } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import { Stack } from './support/stack.mjs';

const TYPING_MS = 1500;

describe('people of one room at two replicas', () => {
  let stack;
  let rooms = 0;
  before(async () => { stack = await Stack.open({ env: { TYPING_LEASE_MS: TYPING_MS } }); });
  after(() => stack?.remove());

  /** Somebody at replica 0, who has joined, and a watcher at each. */
  async function scene(t) {
    rooms += 1;
    const slug = `pair-${process.pid}-${rooms}`;
    const room = await stack.client(0, makeUser('Власниця')).createRoom('Удвох', { slug });
    const [here, there] = await Promise.all(stack.cities.map((city) => openRoom(city, slug, makeUser('Глядач'))));
    const user = makeUser('Оля');
    const socket = await openRoom(stack.cities[0], slug, user);
    closing(t, here, there, socket);
    const heard = (watcher, event, more = {}) => watcher.nextFrame((frame) => frame.event === event
      && frame.user_id === user.id && Object.entries(more).every(([name, value]) => frame[name] === value));
    const both = (event, more) => Promise.all([heard(here, event, more), heard(there, event, more)]);
    const count = (watcher, event) => watcher.frames
      .filter(({ frame }) => frame.event === event && frame.user_id === user.id).length;
    return { room, slug, here, there, socket, user, both, count };
  }

  test('a join and a leave over a socket', async (t) => {
    const { here, there, socket, user, both, count } = await scene(t);
    socket.send({ event: 'room.join' });
    for (const frame of await both('room.join')) {
      assert.equal(frame.username, 'Оля');
    }
    socket.send({ event: 'room.leave' });
    await both('room.leave');
    for (const watcher of [here, there]) {
      assert.deepEqual([count(watcher, 'room.join'), count(watcher, 'room.leave')], [1, 1], user.id);
    }
  });

  test('a join over HTTP at one and a leave at the other', async (t) => {
    const { slug, user, both } = await scene(t);
    await stack.client(0, user).ok('POST', `/api/city/rooms/${slug}/join`, {});
    await both('room.join');
    await stack.client(1, user).ok('POST', `/api/city/rooms/${slug}/leave`, {});
    await both('room.leave');
  });

  test('typing is seen, ends when it is said to end, and by itself', async (t) => {
    const { here, there, socket, both, count } = await scene(t);
    socket.send({ event: 'room.join' });
    await both('room.join');
    socket.send({ event: 'room.typing', typing: true });
    await both('room.typing', { typing: true });
    socket.send({ event: 'room.typing', typing: false });
    await both('room.typing', { typing: false });
    socket.send({ event: 'room.typing', typing: true });
    await both('room.typing', { typing: true });
    await both('room.typing', { typing: false }); // its lease ends
    assert.deepEqual([count(here, 'room.typing'), count(there, 'room.typing')], [4, 4]);
  });

  test('who types and leaves is seen to leave, and a newcomer sees him neither there nor typing', async (t) => {
    const { slug, socket, user, both } = await scene(t);
    socket.send({ event: 'room.join' });
    await both('room.join');
    socket.send({ event: 'room.typing', typing: true });
    await both('room.typing', { typing: true });
    const seen = await openRoom(stack.cities[1], slug, makeUser());
    closing(t, seen);
    assert.deepEqual(seen.snapshot.typing_users.map(({ user_id: id }) => id), [user.id]);
    socket.send({ event: 'room.leave' });
    await both('room.leave');
    for (const city of stack.cities) {
      const late = await openRoom(city, slug, makeUser());
      closing(t, late);
      assert.deepEqual(late.snapshot.typing_users, []);
      assert.ok(!late.snapshot.online_users.some(({ user_id: id }) => id === user.id));
    }
  });

  test('a socket that is cut off at one is gone at the other after the grace', async (t) => {
    const { there, socket, both } = await scene(t);
    socket.send({ event: 'room.join' });
    await both('room.join');
    socket.terminate();
    await both('room.leave');
    assert.equal(there.all('RoomLeave').length, 1);
  });
});
