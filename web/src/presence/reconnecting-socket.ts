/**
 * One WebSocket that stays: it reconnects by the back-off policy, at once when the browser reports
 * a network or the tab is looked at again, and notices a dead line by pings that nobody answers.
 * Both sockets of the city (presence and room) are this class.
 *
 * The URL is asked for on every attempt, so the caller puts its newest cursor and token there.
 * Close codes in `finalCodes` end it: trying again with the same question cannot help.
 */
import { backoffDelay, socketBackoff, type BackoffPolicy } from './backoff';

export type SocketState =
  | { state: 'connecting'; attempt: number }
  | { state: 'open' }
  | { state: 'waiting'; attempt: number; offline: boolean }
  | { state: 'stopped'; code: number; reason: string };

export interface SocketEvents<Incoming> {
  onOpen(): void;
  onFrame(frame: Incoming): void;
  onState(state: SocketState): void;
}

/** What the class needs from the browser; tests give their own. */
export interface SocketHost {
  open(url: string): WebSocket;
  random(): number;
  isOnline(): boolean;
  /** Calls back when there is reason to try at once; returns how to stop listening. */
  onWake(callback: () => void): () => void;
  /** Calls back when the network is said to be gone. */
  onOffline(callback: () => void): () => void;
}

export const browserHost: SocketHost = {
  open: (url) => new WebSocket(url),
  random: () => Math.random(),
  isOnline: () => navigator.onLine,
  onWake(callback) {
    const seen = () => {
      if (document.visibilityState === 'visible') callback();
    };
    window.addEventListener('online', callback);
    window.addEventListener('pageshow', callback);
    document.addEventListener('visibilitychange', seen);
    return () => {
      window.removeEventListener('online', callback);
      window.removeEventListener('pageshow', callback);
      document.removeEventListener('visibilitychange', seen);
    };
  },
  onOffline(callback) {
    window.addEventListener('offline', callback);
    return () => window.removeEventListener('offline', callback);
  },
};

export interface SocketOptions<Incoming> {
  url: () => string;
  events: SocketEvents<Incoming>;
  finalCodes: readonly number[];
  host?: SocketHost;
  backoff?: BackoffPolicy;
}

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 8_000;
const OPEN_WITHIN_MS = 12_000;
/** A line that lived this long was healthy: the next failure starts the back-off afresh. */
const HEALTHY_AFTER_MS = 5_000;
const RATE_LIMITED = 4429;
/** `WebSocket.OPEN`, also where there is no WebSocket (tests on older Node). */
const OPEN = 1;
/** Attempts that a refusal by rate limit counts for: the next try is seconds away, not now. */
const RATE_LIMITED_ATTEMPTS = 4;

export class ReconnectingSocket<Incoming extends object, Outgoing extends object> {
  readonly #options: SocketOptions<Incoming>;
  readonly #host: SocketHost;
  readonly #backoff: BackoffPolicy;
  #socket: WebSocket | null = null;
  #attempt = 0;
  #openedAt = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #openTimer: ReturnType<typeof setTimeout> | undefined;
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;
  #unlisten: (() => void)[] = [];
  #ended = true;

  constructor(options: SocketOptions<Incoming>) {
    this.#options = options;
    this.#host = options.host ?? browserHost;
    this.#backoff = options.backoff ?? socketBackoff;
  }

  start(): void {
    if (!this.#ended) return;
    this.#ended = false;
    this.#attempt = 0;
    this.#unlisten = [
      this.#host.onWake(() => this.wake()),
      this.#host.onOffline(() => this.#probe()),
    ];
    this.#connect();
  }

  /** Ends it for good: no event follows. */
  stop(): void {
    this.#end();
    this.#drop();
  }

  /** Try now: connect if waiting, ask for a sign of life if open. */
  wake(): void {
    if (this.#ended) return;
    if (this.#retryTimer !== undefined) {
      this.#attempt = 0;
      this.#connect();
    } else {
      this.#probe();
    }
  }

  /** False when the frame could not be handed to an open line; the caller keeps it. */
  send(frame: Outgoing): boolean {
    return this.#write(frame);
  }

  #write(frame: object): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #connect(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#options.events.onState({ state: 'connecting', attempt: this.#attempt });
    const socket = this.#host.open(this.#options.url());
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#lost(socket), OPEN_WITHIN_MS);
    socket.onopen = () => {
      clearTimeout(this.#openTimer);
      this.#openedAt = Date.now();
      this.#pingTimer = setInterval(() => this.#probe(), PING_EVERY_MS);
      this.#options.events.onState({ state: 'open' });
      this.#options.events.onOpen();
    };
    socket.onmessage = (event: MessageEvent<unknown>) => this.#received(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
  }

  #received(data: unknown): void {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = undefined;
    if (typeof data !== 'string') return;
    let frame: unknown;
    try {
      frame = JSON.parse(data);
    } catch {
      return; // a plain text "pong"
    }
    if (typeof frame === 'object' && frame !== null && !Array.isArray(frame)) {
      this.#options.events.onFrame(frame as Incoming);
    }
  }

  #closed(code: number, reason: string): void {
    const healthy = this.#openedAt !== 0 && Date.now() - this.#openedAt >= HEALTHY_AFTER_MS;
    this.#drop();
    if (this.#ended) return;
    if (this.#options.finalCodes.includes(code)) {
      this.#end();
      this.#options.events.onState({ state: 'stopped', code, reason });
      return;
    }
    if (healthy) this.#attempt = 0;
    if (code === RATE_LIMITED) this.#attempt = Math.max(this.#attempt, RATE_LIMITED_ATTEMPTS);
    const delay = backoffDelay(this.#backoff, this.#attempt, this.#host.random());
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.#options.events.onState({
      state: 'waiting',
      attempt: this.#attempt,
      offline: !this.#host.isOnline(),
    });
  }

  /** Asks for a sign of life; silence means that the line is dead though nobody said so. */
  #probe(): void {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN || this.#pongTimer !== undefined) return;
    this.#write({ event: 'ping' });
    this.#pongTimer = setTimeout(() => this.#lost(socket), PONG_WITHIN_MS);
  }

  #lost(socket: WebSocket): void {
    // The close event of a dead line can take minutes: act as if it had come.
    if (socket === this.#socket) this.#closed(1006, 'no answer');
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    for (const unlisten of this.#unlisten) unlisten();
    this.#unlisten = [];
  }

  #drop(): void {
    clearTimeout(this.#openTimer);
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    this.#pongTimer = undefined;
    this.#openedAt = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }
}

export function socketUrl(path: string, query: Record<string, string>): string {
  const url = new URL(path, window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = new URLSearchParams(query).toString();
  return url.href;
}
