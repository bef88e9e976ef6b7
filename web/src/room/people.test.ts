import { expect, test } from 'vitest';
import type { RoomServerFrame } from '../api/types';
import { message } from './message.fixture';
import { headcount, initials, nobody, peopleFrame } from './people';

const head = { room_id: 'room_city_general', epoch: 'e', offset: 1 };
const who = (n: number) => ({ user_id: `u_${n}`, username: `Людина ${n}` });

function run(...frames: RoomServerFrame[]) {
  return frames.reduce(peopleFrame, nobody);
}

const snapshot: RoomServerFrame = {
  event: 'room.snapshot',
  ...head,
  resumed: false,
  online_users: [{ ...who(1), status: 'online' }],
  members_online: 4,
  away_count: 0,
  typing_users: [who(1)],
};

test('the snapshot names some and counts all', () => {
  const people = run(snapshot);
  expect(headcount(people)).toBe(4);
  expect(people.unnamed).toBe(3);
});

test('joining twice is being there once', () => {
  const join: RoomServerFrame = { event: 'room.join', ...head, ...who(2) };
  expect(headcount(run(snapshot, join, join))).toBe(5);
});

test('leaving and going offline both end being here, and typing too', () => {
  const leave: RoomServerFrame = { event: 'room.leave', ...head, ...who(1) };
  expect(run(snapshot, leave)).toMatchObject({ here: [], typing: [] });
  const offline: RoomServerFrame = {
    event: 'room.presence',
    ...head,
    ...who(1),
    status: 'offline',
  };
  expect(run(snapshot, offline)).toMatchObject({ here: [], typing: [] });
});

test('away changes the window, not the place', () => {
  const join: RoomServerFrame = { event: 'room.join', ...head, ...who(2) };
  const away: RoomServerFrame = { event: 'room.presence', ...head, ...who(1), status: 'away' };
  expect(run(snapshot, join, away).here.map((p) => [p.user_id, p.status])).toEqual([
    ['u_1', 'away'],
    ['u_2', 'online'],
  ]);
});

test('typing starts, is not doubled, and stops', () => {
  const on: RoomServerFrame = { event: 'room.typing', ...head, ...who(2), typing: true };
  expect(run(snapshot, on, on).typing.map((p) => p.user_id)).toEqual(['u_1', 'u_2']);
  expect(run(snapshot, on, { ...on, typing: false }).typing.map((p) => p.user_id)).toEqual(['u_1']);
});

test('words that arrived are not being typed any more', () => {
  const said: RoomServerFrame = {
    event: 'room.message',
    ...head,
    message: message(2, { author_user_id: 'u_1' }),
  };
  expect(run(snapshot, said).typing).toEqual([]);
});

test('frames that are not about people change nothing', () => {
  const people = run(snapshot);
  expect(peopleFrame(people, { event: 'pong' })).toBe(people);
  expect(peopleFrame(people, { type: 'pong' })).toBe(people);
});

test('initials are one or two letters of any script', () => {
  expect(initials('олена')).toBe('О');
  expect(initials('Марія  Ганна Коваль')).toBe('МК');
  expect(initials('🦊 fox')).toBe('🦊F');
  expect(initials('   ')).toBe('?');
});
