import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { RoomClientFrame, RoomServerFrame } from '../api/types';
import { Delivery } from './delivery';
import { message } from './message.fixture';

type SendFrame = Extract<RoomClientFrame, { event: 'room.message.send' }>;

const head = { room_id: 'room_city_general', epoch: 'e', offset: 1 };

function setUp() {
  const frames: SendFrame[] = [];
  let open = true;
  const delivery = new Delivery('general', 'u_me', (frame) => {
    if (open) frames.push(frame as SendFrame);
    return open;
  });
  const key = (n: number): string => {
    const found = frames[n]?.idempotency_key;
    if (found === undefined) throw new Error(`no frame ${n}`);
    return found;
  };
  return { delivery, frames, key, setOpen: (value: boolean) => (open = value) };
}

function ack(key: string, id: string): Extract<RoomServerFrame, { event: 'room.message.ack' }> {
  return { event: 'room.message.ack', ...head, idempotency_key: key, message_id: id };
}

function error(
  key: string,
  code: 'rate_limited' | 'invalid_input' | 'idempotency_conflict',
  retry_after_ms?: number,
): Extract<RoomServerFrame, { event: 'error' }> {
  return {
    event: 'error',
    error: code,
    detail: code,
    message: code,
    idempotency_key: key,
    ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
    epoch: 'e',
    offset: 1,
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('words said without a line leave in order when it comes', () => {
  const { delivery, frames } = setUp();
  delivery.say('один', 'u_me');
  delivery.say('два', 'u_me');
  expect(frames).toEqual([]);
  delivery.lineUp();
  expect(frames.map((frame) => frame.body)).toEqual(['один', 'два']);
});

test('each message has its own key', () => {
  const { delivery, key } = setUp();
  delivery.lineUp();
  delivery.say('так', 'u_me');
  delivery.say('так', 'u_me');
  expect(key(0)).not.toBe(key(1));
});

test('after a break the same words go out again with the same key, until acknowledged', () => {
  const { delivery, frames, key } = setUp();
  delivery.lineUp();
  delivery.say('привіт', 'u_me');
  delivery.lineDown();
  delivery.lineUp();
  expect(frames).toHaveLength(2);
  expect(key(1)).toBe(key(0));
  const mine = message(5, { author_user_id: 'u_me', body: 'привіт' });
  delivery.acknowledged(ack(key(0), mine.id), [mine]);
  expect(delivery.outbox.get()).toEqual([]);
  delivery.lineDown();
  delivery.lineUp();
  expect(frames).toHaveLength(2);
});

test('no acknowledgement within ten seconds is tried again on the same line', () => {
  const { delivery, frames, key } = setUp();
  delivery.lineUp();
  delivery.say('привіт', 'u_me');
  vi.advanceTimersByTime(10_000);
  expect(frames).toHaveLength(2);
  expect(key(1)).toBe(key(0));
});

test('a refusal stops these words and not the others', () => {
  const { delivery, frames, key } = setUp();
  delivery.lineUp();
  delivery.say('погане', 'u_me');
  delivery.refused(error(key(0), 'invalid_input'));
  delivery.say('добре', 'u_me');
  vi.advanceTimersByTime(9_000);
  expect(frames.map((frame) => frame.body)).toEqual(['погане', 'добре']);
  expect(delivery.outbox.get()[0]).toMatchObject({ refused: 'invalid_input' });
  delivery.retry(key(0));
  expect(frames.at(-1)).toMatchObject({ body: 'погане', idempotency_key: key(0) });
});

test('a key that has stored other words is not tried again', () => {
  const { delivery, frames, key } = setUp();
  delivery.lineUp();
  delivery.say('інше', 'u_me');
  delivery.refused(error(key(0), 'idempotency_conflict'));
  vi.advanceTimersByTime(60_000);
  expect(frames).toHaveLength(1);
  delivery.retry(key(0));
  expect(frames).toHaveLength(2);
  expect(frames[1]).toMatchObject({ body: 'інше' });
  expect(key(1)).not.toBe(key(0));
});

test('a rate limit holds everything for as long as the server asks', () => {
  const { delivery, frames, key } = setUp();
  delivery.lineUp();
  delivery.say('один', 'u_me');
  delivery.refused(error(key(0), 'rate_limited', 3_000));
  delivery.say('два', 'u_me');
  vi.advanceTimersByTime(2_999);
  expect(frames).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(frames.map((frame) => frame.body)).toEqual(['один', 'один', 'два']);
});

test('a line that is gone while sending keeps the words', () => {
  const { delivery, frames, setOpen } = setUp();
  delivery.lineUp();
  setOpen(false);
  delivery.say('привіт', 'u_me');
  expect(frames).toEqual([]);
  expect(delivery.outbox.get()).toHaveLength(1);
  setOpen(true);
  delivery.lineUp();
  expect(frames).toHaveLength(1);
});

test('discarded words are gone and never sent', () => {
  const { delivery, frames } = setUp();
  delivery.say('передумав', 'u_me');
  const [item] = delivery.outbox.get();
  delivery.discard(item?.key ?? '');
  delivery.lineUp();
  expect(frames).toEqual([]);
});
