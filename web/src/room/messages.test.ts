import { expect, test } from 'vitest';
import { message } from './message.fixture';
import { beforeFirstGap, hasOlder, mergeMessages } from './messages';

const offsets = (list: readonly { offset: number }[]) => list.map((m) => m.offset);

test('the next message is appended', () => {
  expect(offsets(mergeMessages([message(1), message(2)], [message(3)]))).toEqual([1, 2, 3]);
});

test('a message that comes twice is there once', () => {
  const known = [message(1), message(2)];
  expect(offsets(mergeMessages(known, [message(2)]))).toEqual([1, 2]);
  expect(offsets(mergeMessages(known, [message(1), message(2), message(3)]))).toEqual([1, 2, 3]);
});

test('older pages and late fillings find their place', () => {
  expect(offsets(mergeMessages([message(4), message(7)], [message(2), message(3)]))).toEqual([
    2, 3, 4, 7,
  ]);
  expect(offsets(mergeMessages([message(4), message(7)], [message(5), message(6)]))).toEqual([
    4, 5, 6, 7,
  ]);
});

test('nothing new is the same list', () => {
  const known = [message(1)];
  expect(mergeMessages(known, [])).toBe(known);
});

test('a jump in positions is a hole, and it is found', () => {
  expect(beforeFirstGap([message(3), message(4), message(5)])).toBeNull();
  expect(beforeFirstGap([message(3), message(5), message(9)])?.offset).toBe(3);
  expect(beforeFirstGap([])).toBeNull();
});

test('only the first message of a room has nothing before it', () => {
  expect(hasOlder([message(1)])).toBe(false);
  expect(hasOlder([message(2)])).toBe(true);
  expect(hasOlder([])).toBe(false);
});
