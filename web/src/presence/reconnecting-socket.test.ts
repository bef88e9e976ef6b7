import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  ReconnectingSocket,
  type SocketHost,
  type SocketOptions,
  type SocketState,
} from './reconnecting-socket';

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

type Frame = Record<string, unknown>;

/** A line that the test holds the other end of. */
class Line {
  readyState: number = CONNECTING;
  sent: Frame[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Frame);
  }

  close(): void {
    this.readyState = CLOSED;
  }

  accept(): void {
    this.readyState = OPEN;
    this.onopen?.();
  }

  say(data: unknown): void {
    this.onmessage?.({ data });
  }

  hangUp(code: number, reason = ''): void {
    this.readyState = CLOSED;
    this.onclose?.({ code, reason });
  }
}

function setUp(options: Partial<SocketOptions<Frame>> = {}) {
  const lines: Line[] = [];
  const states: SocketState[] = [];
  const frames: Frame[] = [];
  const nothing = (): void => undefined;
  const signals = { wake: nothing, offline: nothing };
  let online = true;
  const host: SocketHost = {
    open(url) {
      const line = new Line(url);
      lines.push(line);
      return line as unknown as WebSocket;
    },
    random: () => 0,
    isOnline: () => online,
    onWake(callback) {
      signals.wake = callback;
      return () => (signals.wake = nothing);
    },
    onOffline(callback) {
      signals.offline = callback;
      return () => (signals.offline = nothing);
    },
  };
  let opened = 0;
  const socket = new ReconnectingSocket<Frame, Frame>({
    url: () => `ws://city/${lines.length}`,
    finalCodes: [4401],
    host,
    backoff: { firstMs: 100, ceilingMs: 1000 },
    events: {
      onOpen: () => (opened += 1),
      onFrame: (frame) => frames.push(frame),
      onState: (state) => states.push(state),
    },
    ...options,
  });
  const line = (n: number): Line => {
    const found = lines[n];
    if (found === undefined) throw new Error(`no line ${n}`);
    return found;
  };
  return {
    socket,
    lines,
    line,
    states,
    frames,
    signals,
    opened: () => opened,
    setOnline: (value: boolean) => (online = value),
  };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('a lost line is opened again by the back-off, with a fresh URL each time', () => {
  const { socket, lines, line, states } = setUp();
  socket.start();
  line(0).hangUp(1006);
  expect(states.at(-1)).toEqual({ state: 'waiting', attempt: 1, offline: false });
  vi.advanceTimersByTime(49);
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(lines.map((l) => l.url)).toEqual(['ws://city/0', 'ws://city/1']);
  line(1).hangUp(1006);
  vi.advanceTimersByTime(99);
  expect(lines).toHaveLength(2);
  vi.advanceTimersByTime(1);
  expect(lines).toHaveLength(3);
});

test('a line that lived makes the next failure a first failure again', () => {
  const { socket, lines, line } = setUp();
  socket.start();
  line(0).hangUp(1006);
  vi.advanceTimersByTime(50);
  line(1).accept();
  vi.advanceTimersByTime(6_000);
  line(1).hangUp(1001);
  vi.advanceTimersByTime(50);
  expect(lines).toHaveLength(3);
});

test('a line that dies right after opening does not reset the back-off', () => {
  const { socket, lines, line } = setUp();
  socket.start();
  line(0).hangUp(1006);
  vi.advanceTimersByTime(50);
  line(1).accept();
  line(1).hangUp(1006);
  vi.advanceTimersByTime(50);
  expect(lines).toHaveLength(2);
  vi.advanceTimersByTime(50);
  expect(lines).toHaveLength(3);
});

test('a final close code stops it: no further attempt, whatever happens', () => {
  const { socket, lines, line, states, signals } = setUp();
  socket.start();
  line(0).accept();
  line(0).hangUp(4401, 'token_expired');
  expect(states.at(-1)).toEqual({ state: 'stopped', code: 4401, reason: 'token_expired' });
  signals.wake();
  vi.advanceTimersByTime(600_000);
  expect(lines).toHaveLength(1);
});

test('a refusal by rate limit waits longer than an ordinary failure', () => {
  const { socket, lines, line } = setUp();
  socket.start();
  line(0).accept();
  line(0).hangUp(4429);
  vi.advanceTimersByTime(499);
  expect(lines).toHaveLength(1);
  vi.advanceTimersByTime(1);
  expect(lines).toHaveLength(2);
});

test('the network coming back tries at once', () => {
  const { socket, lines, line, signals } = setUp();
  socket.start();
  line(0).hangUp(1006);
  signals.wake();
  expect(lines).toHaveLength(2);
  vi.advanceTimersByTime(10_000);
  expect(lines.length).toBeGreaterThanOrEqual(2);
});

test('waking an open line asks for a sign of life, and silence means that it is dead', () => {
  const { socket, lines, line, signals } = setUp();
  socket.start();
  line(0).accept();
  signals.offline();
  expect(line(0).sent).toEqual([{ event: 'ping' }]);
  vi.advanceTimersByTime(8_000);
  expect(line(0).readyState).toBe(CLOSED);
  vi.advanceTimersByTime(50);
  expect(lines).toHaveLength(2);
});

test('any frame is a sign of life', () => {
  const { socket, lines, line } = setUp();
  socket.start();
  line(0).accept();
  vi.advanceTimersByTime(20_000);
  expect(line(0).sent).toEqual([{ event: 'ping' }]);
  line(0).say('pong');
  vi.advanceTimersByTime(10_000);
  expect(lines).toHaveLength(1);
  expect(line(0).readyState).toBe(OPEN);
});

test('a line that never opens is given up and tried again', () => {
  const { socket, lines } = setUp();
  socket.start();
  vi.advanceTimersByTime(12_050);
  expect(lines).toHaveLength(2);
});

test('frames are JSON objects; everything else is ignored', () => {
  const { socket, line, frames } = setUp();
  socket.start();
  line(0).accept();
  for (const data of ['pong', '[1]', 'null', '7', '{"a":', new ArrayBuffer(2), '{"event":"x"}']) {
    line(0).say(data);
  }
  expect(frames).toEqual([{ event: 'x' }]);
});

test('sending without an open line says so instead of losing the frame', () => {
  const { socket, line } = setUp();
  expect(socket.send({ a: 1 })).toBe(false);
  socket.start();
  expect(socket.send({ a: 2 })).toBe(false);
  line(0).accept();
  expect(socket.send({ a: 3 })).toBe(true);
  expect(line(0).sent).toEqual([{ a: 3 }]);
});

test('after stop nothing is heard and nothing is tried', () => {
  const { socket, lines, line, states, opened } = setUp();
  socket.start();
  const before = states.length;
  socket.stop();
  line(0).accept();
  line(0).hangUp(1006);
  vi.advanceTimersByTime(600_000);
  expect(lines).toHaveLength(1);
  expect(states).toHaveLength(before);
  expect(opened()).toBe(0);
});

test('waiting says whether the browser has a network at all', () => {
  const { socket, line, states, setOnline } = setUp();
  setOnline(false);
  socket.start();
  line(0).hangUp(1006);
  expect(states.at(-1)).toMatchObject({ state: 'waiting', offline: true });
});
