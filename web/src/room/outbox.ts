/**
 * Words that are said but not yet acknowledged. Each carries its idempotency key from the first try
 * to the last, so that trying again can never say a thing twice. Pure; `loadOutbox` and `saveOutbox`
 * keep it over a reload of this tab (two tabs sharing one list would overwrite each other).
 */
import type { Message } from '../api/types';
import { readStoredJson, writeStored } from '../app/storage';

export interface OutboxItem {
  key: string;
  body: string;
  /** Who said it; keys are per author on the server. */
  author: string;
  createdAt: number;
  /** Times it was handed to a socket. */
  attempts: number;
  /** Why the server refused it; null while it may still be sent. */
  refused: string | null;
  /** The message it became, or probably became: shown once, through that message. */
  messageId: string | null;
  /** Committed; it leaves when its message is here. */
  acked: boolean;
}

export type Outbox = readonly OutboxItem[];

export function queued(
  outbox: Outbox,
  item: { key: string; body: string; author: string; createdAt: number },
): Outbox {
  return [...outbox, { ...item, attempts: 0, refused: null, messageId: null, acked: false }];
}

function changed(outbox: Outbox, key: string, change: Partial<OutboxItem>): Outbox {
  return outbox.map((item) => (item.key === key ? { ...item, ...change } : item));
}

export function tried(outbox: Outbox, key: string): Outbox {
  return outbox.map((item) => (item.key === key ? { ...item, attempts: item.attempts + 1 } : item));
}

export function removed(outbox: Outbox, key: string): Outbox {
  return outbox.filter((item) => item.key !== key);
}

/** Committed as `messageId`. Until that message is here the words stay where they are. */
export function acknowledged(
  outbox: Outbox,
  key: string,
  messageId: string,
  messages: readonly Message[],
): Outbox {
  return messages.some((message) => message.id === messageId)
    ? removed(outbox, key)
    : changed(outbox, key, { messageId, refused: null, acked: true });
}

export function refused(outbox: Outbox, key: string, code: string): Outbox {
  return changed(outbox, key, { refused: code, messageId: null });
}

/** The key has stored other words: these were not stored, and can only go under another. */
const KEY_IS_SPENT = 'idempotency_conflict';

/** Try again what was refused, with the same key, or with `fresh` if the key is what was wrong. */
export function revived(outbox: Outbox, key: string, fresh: string): Outbox {
  return outbox.map((item) => {
    if (item.key !== key) return item;
    return item.refused === KEY_IS_SPENT
      ? { ...item, key: fresh, attempts: 0, refused: null }
      : { ...item, refused: null };
  });
}

/**
 * Messages arrived. Acknowledged words whose message is here are done. An own message may come
 * before its acknowledgement: the oldest words with the same text are taken for it, which only hides
 * them; they leave when the acknowledgement comes.
 */
export function matched(outbox: Outbox, arrived: readonly Message[]): Outbox {
  let next = outbox;
  for (const message of arrived) {
    const known = next.find((item) => item.messageId === message.id);
    if (known) {
      if (known.acked) next = removed(next, known.key);
      continue;
    }
    const item = next.find(
      (candidate) =>
        candidate.messageId === null &&
        candidate.attempts > 0 &&
        candidate.refused === null &&
        candidate.author === message.author_user_id &&
        candidate.body === message.body,
    );
    if (item) next = changed(next, item.key, { messageId: message.id });
  }
  return next;
}

/** What is drawn: words whose message is on the page already are not drawn twice. */
export function shown(outbox: Outbox, messages: readonly Message[]): Outbox {
  const ids = new Set(messages.slice(-200).map((message) => message.id));
  return outbox.filter((item) => item.messageId === null || !ids.has(item.messageId));
}

/** What must be sent, oldest first. */
export function unsent(outbox: Outbox): Outbox {
  return outbox.filter((item) => item.refused === null && !item.acked);
}

/**
 * Somebody entered again and is another author to the server. Words that never left go out under
 * the new name; words that may have arrived under the old one wait for the person to decide.
 */
export function adopted(outbox: Outbox, author: string): Outbox {
  return outbox.map((item) => {
    if (item.author === author) return item;
    return item.attempts === 0
      ? { ...item, author }
      : { ...item, author, attempts: 0, refused: 'author_changed', messageId: null, acked: false };
  });
}

function storageKey(roomSlug: string): string {
  return `daarion.outbox.${roomSlug}`;
}

function isItem(value: unknown): value is OutboxItem {
  if (typeof value !== 'object' || value === null) return false;
  const item = value as Record<string, unknown>;
  return (
    typeof item.key === 'string' &&
    typeof item.body === 'string' &&
    typeof item.author === 'string' &&
    typeof item.createdAt === 'number' &&
    typeof item.attempts === 'number' &&
    (item.refused === null || typeof item.refused === 'string')
  );
}

export function parseOutbox(value: unknown): Outbox {
  if (!Array.isArray(value)) return [];
  return (value as unknown[])
    .filter(isItem)
    .map((item) => ({ ...item, messageId: null, acked: false }));
}

export function loadOutbox(roomSlug: string): Outbox {
  return parseOutbox(readStoredJson(storageKey(roomSlug), 'tab'));
}

export function saveOutbox(roomSlug: string, outbox: Outbox): void {
  const text = outbox.length === 0 ? null : JSON.stringify(outbox);
  writeStored(storageKey(roomSlug), text, 'tab');
}
