import { expect, test } from 'vitest';
import { AWAY_AFTER_MS, statusAt } from './activity';

test('a person is away five minutes after the last touch, not a moment earlier', () => {
  expect(statusAt(1000, 1000 + AWAY_AFTER_MS - 1)).toBe('online');
  expect(statusAt(1000, 1000 + AWAY_AFTER_MS)).toBe('away');
});

test('a clock that was set back does not make anybody away', () => {
  expect(statusAt(10_000, 5_000)).toBe('online');
});
