import { expect, test } from 'vitest';
import { message } from './message.fixture';
import {
  acknowledged,
  adopted,
  matched,
  parseOutbox,
  queued,
  refused,
  revived,
  shown,
  tried,
  unsent,
  type Outbox,
} from './outbox';

const item = { key: 'k1', body: 'привіт', author: 'u_me', createdAt: 1 };
const mine = message(9, { author_user_id: 'u_me', body: 'привіт' });
const sent = (outbox: Outbox = queued([], item)) => tried(outbox, 'k1');

test('words wait in the order they were said', () => {
  const outbox = queued(queued([], item), { ...item, key: 'k2' });
  expect(unsent(outbox).map((entry) => entry.key)).toEqual(['k1', 'k2']);
});

test('an acknowledgement whose message is here ends the waiting', () => {
  expect(acknowledged(sent(), 'k1', mine.id, [mine])).toEqual([]);
});

test('an acknowledgement that comes first keeps the words until their message comes', () => {
  const acked = acknowledged(sent(), 'k1', mine.id, []);
  expect(shown(acked, [])).toHaveLength(1);
  expect(unsent(acked)).toEqual([]);
  expect(matched(acked, [mine])).toEqual([]);
});

test('an own message that comes first hides the words until the acknowledgement', () => {
  const hidden = matched(sent(), [mine]);
  expect(shown(hidden, [mine])).toEqual([]);
  expect(unsent(hidden)).toHaveLength(1);
  expect(acknowledged(hidden, 'k1', mine.id, [mine])).toEqual([]);
});

test('a wrong guess by equal text is mended by the acknowledgement', () => {
  const other = message(10, { author_user_id: 'u_me', body: 'привіт' });
  const guessed = matched(sent(), [mine]);
  const acked = acknowledged(guessed, 'k1', other.id, [mine]);
  expect(shown(acked, [mine])).toHaveLength(1);
  expect(matched(acked, [other])).toEqual([]);
});

test('words that were never sent, or are not mine, are not taken for a message', () => {
  const never = queued([], item);
  expect(shown(matched(never, [mine]), [mine])).toHaveLength(1);
  const stranger = message(9, { author_user_id: 'u_other', body: 'привіт' });
  expect(shown(matched(sent(), [stranger]), [stranger])).toHaveLength(1);
});

test('two equal messages hide one waiting each', () => {
  const two = tried(queued(sent(), { ...item, key: 'k2' }), 'k2');
  const again = message(10, { author_user_id: 'u_me', body: 'привіт' });
  expect(shown(matched(two, [mine, again]), [mine, again])).toEqual([]);
});

test('refused words stay, are not sent by themselves, and go again with the same key', () => {
  const no = refused(sent(), 'k1', 'invalid_input');
  expect(unsent(no)).toEqual([]);
  expect(shown(no, [])[0]).toMatchObject({ key: 'k1', refused: 'invalid_input' });
  expect(unsent(revived(no, 'k1', 'k9')).map((entry) => entry.key)).toEqual(['k1']);
});

test('words whose key has stored others are refused, and go again under a key of their own', () => {
  const no = refused(sent(), 'k1', 'idempotency_conflict');
  expect(unsent(no)).toEqual([]);
  const again = revived(no, 'k1', 'k9');
  expect(unsent(again)).toEqual([{ ...no[0], key: 'k9', attempts: 0, refused: null }]);
});

test('after entering again, words that never left go under the new name', () => {
  expect(adopted(queued([], item), 'u_new')[0]).toMatchObject({ author: 'u_new', refused: null });
});

test('after entering again, words that may have arrived wait for the person', () => {
  expect(adopted(sent(), 'u_new')[0]).toMatchObject({ refused: 'author_changed', key: 'k1' });
});

test('a reload keeps what was said and forgets what was guessed', () => {
  const stored: unknown = JSON.parse(JSON.stringify(matched(sent(), [mine])));
  expect(parseOutbox(stored)[0]).toMatchObject({ key: 'k1', attempts: 1, messageId: null });
});

test('a spoilt store is an empty outbox, spoilt items are left out', () => {
  expect(parseOutbox(null)).toEqual([]);
  expect(parseOutbox({ a: 1 })).toEqual([]);
  expect(parseOutbox([7, null, { key: 'x' }])).toEqual([]);
});
