import { expect, test } from 'vitest';
import { rowsOf, type Group, type Row } from './grouping';
import { message } from './message.fixture';
import type { OutboxItem } from './outbox';

const me = { id: 'u_me', name: 'Софія' };

function at(day: number, hour: number, minute: number, second = 0): string {
  return new Date(2026, 10, day, hour, minute, second).toISOString();
}

function groups(rows: readonly Row[]): Group[] {
  return rows.filter((row) => row.kind === 'group');
}

function waiting(key: string, createdAt: number): OutboxItem {
  return {
    key,
    body: 'моє',
    author: me.id,
    createdAt,
    attempts: 0,
    refused: null,
    messageId: null,
    acked: false,
  };
}

test('words of one author in one minute are one group', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(20, 10, 5, 1) }), message(2, { created_at: at(20, 10, 5, 59) })],
    [],
    null,
    null,
  );
  expect(groups(rows)).toHaveLength(1);
  expect(groups(rows)[0]?.lines).toHaveLength(2);
});

test('the next minute is a group of its own that goes on without the name', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(20, 10, 5, 59) }), message(2, { created_at: at(20, 10, 6, 0) })],
    [],
    null,
    null,
  );
  expect(groups(rows).map((group) => group.continued)).toEqual([false, true]);
});

test('after a long silence the name is said again', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(20, 10, 5) }), message(2, { created_at: at(20, 10, 40) })],
    [],
    null,
    null,
  );
  expect(groups(rows).map((group) => group.continued)).toEqual([false, false]);
});

test('another author begins another group, within the same minute too', () => {
  const rows = rowsOf(
    [
      message(1, { created_at: at(20, 10, 5, 1) }),
      message(2, { created_at: at(20, 10, 5, 2), author_user_id: 'u_taras', username: 'Тарас' }),
      message(3, { created_at: at(20, 10, 5, 3) }),
    ],
    [],
    null,
    null,
  );
  expect(groups(rows).map((group) => group.name)).toEqual(['Олена', 'Тарас', 'Олена']);
  expect(groups(rows).every((group) => !group.continued)).toBe(true);
});

test('a day begins with its divider, midnight splits a group', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(19, 23, 59, 59) }), message(2, { created_at: at(20, 0, 0, 0) })],
    [],
    null,
    null,
  );
  expect(rows.map((row) => row.kind)).toEqual(['day', 'group', 'day', 'group']);
});

test('the unread mark stands before the first unread words and splits the group', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(20, 10, 5, 1) }), message(2, { created_at: at(20, 10, 5, 2) })],
    [],
    null,
    'm_city_2',
  );
  expect(rows.map((row) => row.kind)).toEqual(['day', 'group', 'unread', 'group']);
});

test('own words are marked as own, others are not', () => {
  const rows = rowsOf([message(1), message(2, { author_user_id: me.id })], [], me, null);
  expect(groups(rows).map((group) => group.own)).toEqual([false, true]);
});

test('unsent words stand last, even if this clock is behind the city', () => {
  const rows = rowsOf(
    [message(1, { created_at: at(20, 10, 5) })],
    [waiting('k1', Date.parse(at(20, 9, 0))), waiting('k2', Date.parse(at(20, 9, 1)))],
    me,
    null,
  );
  const last = groups(rows).at(-1);
  expect(last?.own).toBe(true);
  expect(last?.lines.map((line) => line.key)).toEqual(['k1', 'k2']);
  expect(rows.filter((row) => row.kind === 'day')).toHaveLength(1);
});

test('an agent is an author too, and is told from people', () => {
  const rows = rowsOf(
    [message(1, { author_user_id: null, author_agent_id: 'ag_guide', username: 'Провідник' })],
    [],
    me,
    null,
  );
  expect(groups(rows)[0]).toMatchObject({ agent: true, own: false, authorId: 'ag_guide' });
});
