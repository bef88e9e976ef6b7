import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { IDLE_MS, REFRESH_MS, TypingSignal } from './typing-signal';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  const sent: boolean[] = [];
  return { sent, signal: new TypingSignal((typing) => sent.push(typing)) };
}

test('the first key tells at once, the next ones within four seconds do not', () => {
  const { sent, signal } = setUp();
  signal.typed();
  vi.advanceTimersByTime(REFRESH_MS - 1);
  signal.typed();
  expect(sent).toEqual([true]);
});

test('going on is told again every four seconds', () => {
  const { sent, signal } = setUp();
  for (let i = 0; i <= 9; i += 1) {
    signal.typed();
    vi.advanceTimersByTime(1000);
  }
  expect(sent).toEqual([true, true, true]);
});

test('five seconds without a key end it', () => {
  const { sent, signal } = setUp();
  signal.typed();
  vi.advanceTimersByTime(IDLE_MS - 1);
  expect(sent).toEqual([true]);
  vi.advanceTimersByTime(1);
  expect(sent).toEqual([true, false]);
});

test('sending ends it once, and silence after that says nothing', () => {
  const { sent, signal } = setUp();
  signal.typed();
  signal.stopped();
  signal.stopped();
  vi.advanceTimersByTime(60_000);
  expect(sent).toEqual([true, false]);
});

test('after a broken line the next key tells again', () => {
  const { sent, signal } = setUp();
  signal.typed();
  signal.forgotten();
  vi.advanceTimersByTime(60_000);
  signal.typed();
  expect(sent).toEqual([true, true]);
});
