/**
 * What we know about the whole city: rooms, their light, the feed. Pure: frames and answers come in,
 * a new state comes out, and parts that did not change keep their identity.
 */
import type { FeedEvent, PresenceServerFrame, PresenceUpdate, Room } from '../api/types';

export interface Light {
  /** Everybody here, those who are away included. */
  online: number;
  away: number;
  typing: number;
  typingUsers: readonly string[];
}

export interface CityRoom {
  room: Room;
  light: Light;
}

export interface Cursor {
  epoch: string;
  offset: number;
}

export interface CityState {
  loaded: boolean;
  /** In the server's order: default rooms first, then the newest. */
  rooms: readonly CityRoom[];
  total: { online: number; away: number } | null;
  /** The counts are the last that were heard; what has changed since is not known. */
  stale: boolean;
  /** Newest first. */
  feed: readonly FeedEvent[];
  feedLoaded: boolean;
  /** Display names by user id, as far as we have heard them. */
  names: Readonly<Record<string, string>>;
  cursor: Cursor | null;
  /** Counts come from a stream; counts in a list of rooms are older than those. */
  live: boolean;
  /** Counts of rooms that are not in the list yet. */
  early: Readonly<Record<string, Light>>;
}

export const FEED_KEPT = 60;

export const dark: Light = { online: 0, away: 0, typing: 0, typingUsers: [] };

export const emptyCity: CityState = {
  loaded: false,
  rooms: [],
  total: null,
  stale: false,
  feed: [],
  feedLoaded: false,
  names: {},
  cursor: null,
  live: false,
  early: {},
};

interface Counts {
  online_count: number;
  away_count: number;
  typing_count: number;
  typing_users: readonly string[];
}

function sameLight(a: Light, b: Light): boolean {
  return (
    a.online === b.online &&
    a.away === b.away &&
    a.typing === b.typing &&
    a.typingUsers.length === b.typingUsers.length &&
    a.typingUsers.every((id, i) => id === b.typingUsers[i])
  );
}

function lightOfCounts(counts: Counts): Light {
  return {
    online: counts.online_count,
    away: counts.away_count,
    typing: counts.typing_count,
    typingUsers: counts.typing_users,
  };
}

function lightOfRoom(room: Room): Light {
  return {
    online: room.members_online,
    away: room.away_count,
    typing: room.typing_count,
    typingUsers: [],
  };
}

function patchRoom(
  state: CityState,
  slug: string,
  change: (room: CityRoom) => CityRoom,
): CityState {
  const index = state.rooms.findIndex((entry) => entry.room.slug === slug);
  const old = state.rooms[index];
  if (old === undefined) return state;
  const next = change(old);
  return next === old ? state : { ...state, rooms: state.rooms.with(index, next) };
}

function withLight(state: CityState, slug: string, light: Light): CityState {
  if (!state.rooms.some((entry) => entry.room.slug === slug)) {
    return { ...state, early: { ...state.early, [slug]: light } };
  }
  return patchRoom(state, slug, (entry) =>
    sameLight(entry.light, light) ? entry : { ...entry, light },
  );
}

/** The whole city at once: a room that is not listed is dark. */
function withAllLights(state: CityState, lights: Record<string, Light>): CityState {
  const rooms = state.rooms.map((entry) => {
    const light = lights[entry.room.slug] ?? dark;
    return sameLight(entry.light, light) ? entry : { ...entry, light };
  });
  return { ...state, rooms, early: state.loaded ? {} : lights, live: true };
}

function newerWords(a: Room['last_message'], b: Room['last_message']): Room['last_message'] {
  if (a === null || b === null) return a ?? b;
  return Date.parse(b.created_at) >= Date.parse(a.created_at) ? b : a;
}

export function roomsLoaded(state: CityState, rooms: readonly Room[]): CityState {
  const known = new Map(state.rooms.map((entry) => [entry.room.slug, entry]));
  const next = rooms.map((room): CityRoom => {
    const before = known.get(room.slug);
    const live = state.live ? (before?.light ?? state.early[room.slug]) : undefined;
    const last_message = newerWords(room.last_message, before?.room.last_message ?? null);
    return { room: { ...room, last_message }, light: live ?? lightOfRoom(room) };
  });
  // A room made while the list was on its way is not in it: keep it, the next list will have it.
  const listed = new Set(rooms.map((room) => room.slug));
  const born = state.live ? state.rooms.filter((entry) => !listed.has(entry.room.slug)) : [];
  return { ...state, loaded: true, rooms: [...next, ...born], early: {} };
}

export function roomCreated(state: CityState, room: Room): CityState {
  if (state.rooms.some((entry) => entry.room.slug === room.slug)) return state;
  const entry: CityRoom = { room, light: state.early[room.slug] ?? lightOfRoom(room) };
  const defaults = state.rooms.filter((other) => other.room.is_default).length;
  return { ...state, rooms: state.rooms.toSpliced(room.is_default ? 0 : defaults, 0, entry) };
}

/** Its row is another one; its light is the stream's business. */
export function roomChanged(state: CityState, room: Room): CityState {
  return patchRoom(state, room.slug, (entry) => ({
    ...entry,
    room: { ...room, last_message: newerWords(room.last_message, entry.room.last_message) },
  }));
}

/** The same, told to those who are in the room. */
export function roomArchived(state: CityState, slug: string, archived: boolean): CityState {
  return patchRoom(state, slug, (entry) =>
    entry.room.archived === archived ? entry : { ...entry, room: { ...entry.room, archived } },
  );
}

function newestFirst(a: FeedEvent, b: FeedEvent): number {
  // ULIDs of one process order events of the same millisecond too.
  return Date.parse(b.created_at) - Date.parse(a.created_at) || (a.id < b.id ? 1 : -1);
}

export function feedMerged(state: CityState, items: readonly FeedEvent[]): CityState {
  const seen = new Set(state.feed.map((item) => item.id));
  const fresh = items.filter((item) => !seen.has(item.id)).sort(newestFirst);
  if (fresh.length === 0) return state.feedLoaded ? state : { ...state, feedLoaded: true };
  const named = namesLearned(
    state,
    fresh.flatMap(({ user_id, username }) =>
      user_id !== null && username !== null ? [{ user_id, username }] : [],
    ),
  );
  const feed = [...fresh, ...state.feed].sort(newestFirst).slice(0, FEED_KEPT);
  return fresh.reduceRight(withLastWords, { ...named, feed, feedLoaded: true });
}

function withLastWords(state: CityState, item: FeedEvent): CityState {
  const { payload } = item;
  if (item.room_slug === null || !('message_id' in payload)) return state;
  const words = {
    id: payload.message_id,
    username: item.username ?? '',
    snippet: payload.snippet,
    created_at: item.created_at,
  };
  return patchRoom(state, item.room_slug, (entry) => {
    const last_message = newerWords(entry.room.last_message, words);
    return last_message === words ? { ...entry, room: { ...entry.room, last_message } } : entry;
  });
}

export function namesLearned(
  state: CityState,
  people: readonly { user_id: string; username: string }[],
): CityState {
  const fresh = people.filter((p) => state.names[p.user_id] !== p.username);
  if (fresh.length === 0) return state;
  return {
    ...state,
    names: {
      ...state.names,
      ...Object.fromEntries(fresh.map((p) => [p.user_id, p.username])),
    },
  };
}

/** A frame of the presence socket in mode=rooms; other frames change nothing here. */
export function presenceFrame(state: CityState, frame: PresenceServerFrame): CityState {
  if (!('type' in frame)) return state;
  const next = applied(state, frame);
  if (frame.type === 'pong') return next;
  return { ...next, cursor: { epoch: frame.epoch, offset: frame.offset } };
}

function applied(
  state: CityState,
  frame: Extract<PresenceServerFrame, { type: string }>,
): CityState {
  switch (frame.type) {
    case 'snapshot':
      return {
        ...withAllLights(
          state,
          Object.fromEntries(frame.rooms.map((room) => [room.room_slug, lightOfCounts(room)])),
        ),
        total: { online: frame.city.online_total, away: frame.city.away_total },
        stale: frame.state === 'stale',
      };
    case 'room.presence':
      return withLight(state, frame.room_slug, lightOfCounts(frame));
    case 'city.presence':
      return {
        ...state,
        total: { online: frame.online_total, away: frame.away_total },
        stale: frame.state === 'stale',
      };
    case 'feed.event':
      return feedMerged(state, [frame.event]);
    case 'room.created':
      return roomCreated(state, frame.room);
    case 'room.changed':
      return roomChanged(state, frame.room);
    default:
      return state;
  }
}

/** An event of the public presence stream, which a visitor without a token listens to. */
export function streamUpdate(state: CityState, update: PresenceUpdate): CityState {
  const lights = Object.fromEntries(
    update.rooms.map((room): [string, Light] => [
      room.room_slug,
      { online: room.online, away: room.away, typing: room.typing, typingUsers: [] },
    ]),
  );
  return {
    ...withAllLights(state, lights),
    total: { online: update.city.online_total, away: update.city.away_total },
    stale: update.state === 'stale',
  };
}
