/** Who is in a room, from its socket. Pure. */
import type { RoomServerFrame, RoomUser, TypingUser } from '../api/types';

export interface People {
  /** In the order they came. */
  here: readonly RoomUser[];
  /** People in the room whom the snapshot had no place to name. */
  unnamed: number;
  typing: readonly TypingUser[];
}

export const nobody: People = { here: [], unnamed: 0, typing: [] };

function without<T extends { user_id: string }>(list: readonly T[], id: string): readonly T[] {
  return list.some((entry) => entry.user_id === id)
    ? list.filter((entry) => entry.user_id !== id)
    : list;
}

function placed(here: readonly RoomUser[], user: RoomUser): readonly RoomUser[] {
  const index = here.findIndex((entry) => entry.user_id === user.user_id);
  return index < 0 ? [...here, user] : here.with(index, user);
}

export function peopleFrame(people: People, frame: RoomServerFrame): People {
  if (!('event' in frame)) return people;
  switch (frame.event) {
    case 'room.snapshot':
      return {
        here: frame.online_users,
        unnamed: Math.max(0, frame.members_online - frame.online_users.length),
        typing: frame.typing_users,
      };
    case 'room.join':
      return people.here.some((entry) => entry.user_id === frame.user_id)
        ? people
        : { ...people, here: placed(people.here, { ...named(frame), status: 'online' }) };
    case 'room.leave':
      return gone(people, frame.user_id);
    case 'room.presence':
      return frame.status === 'offline'
        ? gone(people, frame.user_id)
        : { ...people, here: placed(people.here, { ...named(frame), status: frame.status }) };
    case 'room.typing': {
      const others = without(people.typing, frame.user_id);
      return { ...people, typing: frame.typing ? [...others, named(frame)] : others };
    }
    case 'room.message': {
      // Words that arrived are not being typed any more, whatever the lease says.
      const author = frame.message.author_user_id;
      return author === null ? people : { ...people, typing: without(people.typing, author) };
    }
    default:
      return people;
  }
}

function named(frame: { user_id: string; username: string }): TypingUser {
  return { user_id: frame.user_id, username: frame.username };
}

function gone(people: People, id: string): People {
  return {
    ...people,
    here: without(people.here, id),
    typing: without(people.typing, id),
  };
}

export function headcount(people: People): number {
  return people.here.length + people.unnamed;
}

const letters = new Intl.Segmenter('uk', { granularity: 'grapheme' });

function firstLetter(word: string): string {
  for (const { segment } of letters.segment(word)) return segment;
  return '';
}

/** Up to two letters that stand in a window for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u);
  const [first = ''] = words;
  const second = words.length > 1 ? (words.at(-1) ?? '') : '';
  const both = firstLetter(first) + firstLetter(second);
  return both === '' ? '?' : both.toLocaleUpperCase('uk');
}
