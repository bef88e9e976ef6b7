import { expect, test } from 'vitest';
import { backoffDelay, socketBackoff } from './backoff';

const policy = { firstMs: 100, ceilingMs: 1000 };

test('delays double with every failure in a row', () => {
  expect([0, 1, 2, 3].map((n) => backoffDelay(policy, n, 0))).toEqual([50, 100, 200, 400]);
});

test('delays stop growing at the ceiling, even after very many failures', () => {
  expect(backoffDelay(policy, 4, 0)).toBe(500);
  expect(backoffDelay(policy, 5000, 0.999999)).toBeLessThanOrEqual(1000);
});

test('half of a delay is random and half is certain', () => {
  expect(backoffDelay(policy, 2, 0)).toBe(200);
  expect(backoffDelay(policy, 2, 0.5)).toBe(300);
  expect(backoffDelay(policy, 2, 0.999999)).toBe(400);
});

test('a person waits less than half a second for the first retry', () => {
  expect(backoffDelay(socketBackoff, 0, 0.999)).toBeLessThan(500);
});
