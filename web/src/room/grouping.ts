/** Turns messages into what is drawn: day dividers, the unread mark, groups of lines. Pure. */
import type { Message } from '../api/types';
import type { OutboxItem } from './outbox';

export interface Line {
  key: string;
  body: string;
  /** Null for a message of the room; else how its sending goes. */
  outbox: OutboxItem | null;
}

export interface Group {
  kind: 'group';
  key: string;
  authorId: string;
  name: string;
  agent: boolean;
  own: boolean;
  /** ISO time of the first line. */
  at: string;
  /** The same author went on: the name need not be said again. */
  continued: boolean;
  lines: Line[];
}

export type Row =
  { kind: 'day'; key: string; at: number } | { kind: 'unread'; key: string } | Group;

const CONTINUED_WITHIN_MS = 10 * 60_000;

interface Entry {
  key: string;
  authorId: string;
  name: string;
  agent: boolean;
  at: number;
  body: string;
  unread: boolean;
  outbox: OutboxItem | null;
}

function minuteOf(at: number): number {
  return Math.floor(at / 60_000);
}

function dayOf(at: number): string {
  return new Date(at).toDateString();
}

function entryOf(message: Message, firstUnreadId: string | null): Entry {
  return {
    key: message.id,
    authorId: message.author_user_id ?? message.author_agent_id ?? '',
    name: message.username,
    agent: message.author_agent_id !== null,
    at: Date.parse(message.created_at),
    body: message.body,
    unread: message.id === firstUnreadId,
    outbox: null,
  };
}

export function rowsOf(
  messages: readonly Message[],
  waiting: readonly OutboxItem[],
  me: { id: string; name: string } | null,
  firstUnreadId: string | null,
): Row[] {
  const entries = messages.map((message) => entryOf(message, firstUnreadId));
  // Unsent words stand after everything said, whatever the two clocks think.
  const newest = entries.at(-1)?.at ?? 0;
  for (const item of waiting) {
    entries.push({
      key: item.key,
      authorId: me?.id ?? item.author,
      name: me?.name ?? '',
      agent: false,
      at: Math.max(item.createdAt, newest),
      body: item.body,
      unread: false,
      outbox: item,
    });
  }
  const rows: Row[] = [];
  let previous: Entry | null = null;
  let group: Group | null = null;
  for (const entry of entries) {
    if (previous === null || dayOf(previous.at) !== dayOf(entry.at)) {
      rows.push({ kind: 'day', key: `day-${dayOf(entry.at)}`, at: entry.at });
      group = null;
    }
    if (entry.unread) {
      rows.push({ kind: 'unread', key: 'unread' });
      group = null;
    }
    const line: Line = { key: entry.key, body: entry.body, outbox: entry.outbox };
    const sameAuthor = previous?.authorId === entry.authorId;
    if (
      group !== null &&
      previous !== null &&
      sameAuthor &&
      minuteOf(previous.at) === minuteOf(entry.at)
    ) {
      group.lines.push(line);
    } else {
      const continued: boolean =
        group !== null &&
        previous !== null &&
        sameAuthor &&
        entry.at - previous.at < CONTINUED_WITHIN_MS;
      group = {
        kind: 'group',
        key: `group-${entry.key}`,
        authorId: entry.authorId,
        name: entry.name,
        agent: entry.agent,
        own: me !== null && entry.authorId === me.id,
        at: new Date(entry.at).toISOString(),
        continued,
        lines: [line],
      };
      rows.push(group);
    }
    previous = entry;
  }
  return rows;
}
