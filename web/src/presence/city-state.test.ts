import { expect, test } from 'vitest';
import type { FeedEvent, PresenceServerFrame, PresenceUpdate, Room } from '../api/types';
import {
  emptyCity,
  FEED_KEPT,
  feedMerged,
  presenceFrame,
  roomArchived,
  roomCreated,
  roomsLoaded,
  streamUpdate,
  type CityState,
} from './city-state';

function room(slug: string, more: Partial<Room> = {}): Room {
  return {
    id: `room_city_${slug}`,
    slug,
    name: slug,
    description: null,
    is_default: false,
    archived: false,
    created_at: '2026-11-20T10:00:00.000Z',
    created_by: null,
    members_online: 0,
    away_count: 0,
    typing_count: 0,
    last_event: null,
    last_message: null,
    matrix_room_id: null,
    matrix_room_alias: null,
    ...more,
  };
}

function said(n: number, slug: string, snippet: string): FeedEvent {
  return {
    id: `evt_city_${String(n).padStart(4, '0')}`,
    kind: 'room_message',
    room_id: `room_city_${slug}`,
    room_slug: slug,
    room_name: slug,
    user_id: `u_${n}`,
    username: `Людина ${n}`,
    agent_id: null,
    payload: { body: snippet, snippet, message_id: `m_city_${n}` },
    created_at: new Date(Date.UTC(2026, 10, 20, 10, 0, 0, n)).toISOString(),
  };
}

function counts(slug: string, online: number, typing: string[] = [], away = 0) {
  return {
    room_slug: slug,
    room_id: `room_city_${slug}`,
    online_count: online,
    away_count: away,
    typing_count: typing.length,
    typing_users: typing,
  };
}

function snapshot(
  offset: number,
  rooms: ReturnType<typeof counts>[],
  total = 0,
): PresenceServerFrame {
  return {
    type: 'snapshot',
    state: 'fresh',
    rooms,
    city: { online_total: total, away_total: 0 },
    epoch: 'e',
    offset,
  };
}

const loaded = roomsLoaded(emptyCity, [room('general'), room('welcome', { members_online: 2 })]);

function lightOf(state: CityState, slug: string) {
  return state.rooms.find((entry) => entry.room.slug === slug)?.light;
}

test('a list of rooms gives their first light until a stream speaks', () => {
  expect(lightOf(loaded, 'welcome')?.online).toBe(2);
  const live = presenceFrame(loaded, snapshot(1, [counts('general', 3)], 3));
  expect(lightOf(live, 'general')?.online).toBe(3);
  expect(lightOf(live, 'welcome')?.online).toBe(0);
  expect(live.total).toEqual({ online: 3, away: 0 });
});

test('a later list of rooms does not overwrite the counts of the stream', () => {
  const live = presenceFrame(loaded, snapshot(1, [counts('general', 3)]));
  const again = roomsLoaded(live, [room('general', { members_online: 99 })]);
  expect(lightOf(again, 'general')?.online).toBe(3);
});

test('a snapshot that comes before the list of rooms is kept for it', () => {
  const early = presenceFrame(emptyCity, snapshot(4, [counts('general', 5)]));
  const state = roomsLoaded(early, [room('general')]);
  expect(lightOf(state, 'general')?.online).toBe(5);
});

test('increments change one room and leave the others untouched, by identity', () => {
  const live = presenceFrame(loaded, snapshot(1, [counts('general', 3)]));
  const next = presenceFrame(live, {
    type: 'room.presence',
    ...counts('general', 4, ['u_1'], 1),
    last_event_ts: 1,
    epoch: 'e',
    offset: 2,
  });
  expect(lightOf(next, 'general')).toEqual({ online: 4, away: 1, typing: 1, typingUsers: ['u_1'] });
  expect(next.rooms[1]).toBe(live.rooms[1]);
});

test('equal counts do not make a new room object', () => {
  const live = presenceFrame(loaded, snapshot(1, [counts('general', 3)]));
  const next = presenceFrame(live, snapshot(2, [counts('general', 3)]));
  expect(next.rooms[0]).toBe(live.rooms[0]);
});

test('every frame moves the cursor, a pong does not', () => {
  let state = presenceFrame(loaded, {
    type: 'reset',
    reason: 'epoch_changed',
    epoch: 'f',
    offset: 9,
  });
  expect(state.cursor).toEqual({ epoch: 'f', offset: 9 });
  state = presenceFrame(state, { type: 'pong' });
  state = presenceFrame(state, { event: 'pong' });
  expect(state.cursor).toEqual({ epoch: 'f', offset: 9 });
});

test('the total of the city is the one the server counts, not a sum of rooms', () => {
  const state = presenceFrame(loaded, {
    type: 'city.presence',
    state: 'fresh',
    online_total: 7,
    away_total: 2,
    epoch: 'e',
    offset: 3,
  });
  expect(state.total).toEqual({ online: 7, away: 2 });
});

test('a new room stands after the default ones, and only once', () => {
  const start = roomsLoaded(emptyCity, [room('general', { is_default: true }), room('old')]);
  const once = roomCreated(start, room('new'));
  expect(once.rooms.map((entry) => entry.room.slug)).toEqual(['general', 'new', 'old']);
  expect(roomCreated(once, room('new'))).toBe(once);
});

test('the feed is newest first, without doubles, and bounded', () => {
  const first = feedMerged(loaded, [said(2, 'general', 'b'), said(1, 'general', 'a')]);
  const next = feedMerged(first, [said(3, 'general', 'c'), said(2, 'general', 'b')]);
  expect(next.feed.map((event) => event.id.slice(-1))).toEqual(['3', '2', '1']);
  const many = Array.from({ length: 200 }, (_, n) => said(n, 'general', 'x'));
  expect(feedMerged(next, many).feed).toHaveLength(FEED_KEPT);
  expect(feedMerged(next, [said(3, 'general', 'c')])).toBe(next);
});

test('the last words of a room follow the feed and never go back in time', () => {
  const live = presenceFrame(loaded, {
    type: 'feed.event',
    event: said(5, 'general', 'нове'),
    epoch: 'e',
    offset: 1,
  });
  expect(live.rooms[0]?.room.last_message).toMatchObject({ snippet: 'нове', username: 'Людина 5' });
  const older = feedMerged(live, [said(2, 'general', 'давнє')]);
  expect(older.rooms[0]?.room.last_message?.snippet).toBe('нове');
  const reloaded = roomsLoaded(older, [room('general')]);
  expect(reloaded.rooms[0]?.room.last_message?.snippet).toBe('нове');
});

test('names are learned from the feed', () => {
  expect(feedMerged(loaded, [said(1, 'general', 'a')]).names).toEqual({ u_1: 'Людина 1' });
});

test('the public stream lights the city for a passer-by', () => {
  const update: PresenceUpdate = {
    type: 'presence_update',
    timestamp: '2026-11-20T10:00:00.000Z',
    state: 'fresh',
    city: { online_total: 4, away_total: 1, rooms_online: 1, agents_online: 0 },
    rooms: [
      {
        room_id: 'room_city_general',
        room_slug: 'general',
        matrix_room_id: null,
        online: 4,
        away: 1,
        typing: 1,
        agents: [],
      },
    ],
    agents: [],
    epoch: 'e',
    offset: 1,
  };
  const state = streamUpdate(loaded, update);
  expect(state.total).toEqual({ online: 4, away: 1 });
  expect(lightOf(state, 'general')).toEqual({ online: 4, away: 1, typing: 1, typingUsers: [] });
  expect(lightOf(state, 'welcome')?.online).toBe(0);
});

test('counts that nobody vouches for are marked until somebody does again', () => {
  const said = (state: 'fresh' | 'stale', offset: number): PresenceServerFrame => ({
    type: 'city.presence',
    state,
    online_total: 7,
    away_total: 2,
    epoch: 'e',
    offset,
  });
  const stale = presenceFrame(loaded, said('stale', 1));
  expect(stale.stale).toBe(true);
  expect(stale.total).toEqual({ online: 7, away: 2 });
  expect(presenceFrame(stale, said('fresh', 2)).stale).toBe(false);
  expect(presenceFrame(stale, snapshot(3, [])).stale).toBe(false);
});

test('an archived room is marked and keeps its light and its last words', () => {
  const words = said(5, 'general', 'останнє');
  const live = feedMerged(presenceFrame(loaded, snapshot(1, [counts('general', 3)])), [words]);
  const next = presenceFrame(live, {
    type: 'room.changed',
    room: room('general', { archived: true }),
    epoch: 'e',
    offset: 2,
  });
  expect(next.rooms[0]?.room.archived).toBe(true);
  expect(next.rooms[0]?.room.last_message?.snippet).toBe('останнє');
  expect(lightOf(next, 'general')?.online).toBe(3);
  expect(roomArchived(next, 'general', true)).toBe(next);
  expect(roomArchived(next, 'general', false).rooms[0]?.room.archived).toBe(false);
});
