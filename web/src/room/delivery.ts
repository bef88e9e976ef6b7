/**
 * Carries the outbox of one room over its socket: everything unsent goes out in order when the line
 * is up, is tried again with the same key when no acknowledgement comes, waits when the server asks
 * to, and stops at a refusal.
 */
import type { Message, RoomClientFrame, RoomServerFrame } from '../api/types';
import { Store } from '../app/store';
import {
  acknowledged,
  adopted,
  loadOutbox,
  matched,
  queued,
  refused,
  removed,
  revived,
  saveOutbox,
  tried,
  unsent,
  type Outbox,
} from './outbox';

const ACK_WITHIN_MS = 10_000;
const PAUSE_MS = 2_000;
/** Refusals that say "not now" instead of "not this". */
const NOT_NOW = new Set(['rate_limited', 'unavailable', 'timeout', 'internal']);

type ErrorFrame = Extract<RoomServerFrame, { event: 'error' }>;
type AckFrame = Extract<RoomServerFrame, { event: 'room.message.ack' }>;

export class Delivery {
  readonly outbox: Store<Outbox>;
  readonly #slug: string;
  readonly #send: (frame: RoomClientFrame) => boolean;
  readonly #onAir = new Map<string, ReturnType<typeof setTimeout>>();
  #up = false;
  #pause: ReturnType<typeof setTimeout> | undefined;

  constructor(slug: string, author: string | null, send: (frame: RoomClientFrame) => boolean) {
    this.#slug = slug;
    this.#send = send;
    const stored = loadOutbox(slug);
    this.outbox = new Store(author === null ? stored : adopted(stored, author));
  }

  /** The server has greeted this connection. */
  lineUp(): void {
    this.#up = true;
    this.#flush();
  }

  lineDown(): void {
    this.#up = false;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    for (const timer of this.#onAir.values()) clearTimeout(timer);
    this.#onAir.clear();
  }

  say(body: string, author: string): void {
    const key = crypto.randomUUID();
    this.#change((outbox) => queued(outbox, { key, body, author, createdAt: Date.now() }));
    this.#flush();
  }

  retry(key: string): void {
    this.#change((outbox) => revived(outbox, key, crypto.randomUUID()));
    this.#flush();
  }

  discard(key: string): void {
    this.#landed(key);
    this.#change((outbox) => removed(outbox, key));
  }

  arrived(messages: readonly Message[]): void {
    this.#change((outbox) => matched(outbox, messages));
  }

  acknowledged(frame: AckFrame, messages: readonly Message[]): void {
    const key = frame.idempotency_key;
    if (key === null) return;
    this.#landed(key);
    this.#change((outbox) => acknowledged(outbox, key, frame.message_id, messages));
  }

  refused(frame: ErrorFrame): void {
    const key = frame.idempotency_key;
    if (key === undefined) return;
    this.#landed(key);
    if (!NOT_NOW.has(frame.error)) {
      this.#change((outbox) => refused(outbox, key, frame.error));
      return;
    }
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#flush();
    }, frame.retry_after_ms ?? PAUSE_MS);
  }

  #landed(key: string): void {
    clearTimeout(this.#onAir.get(key));
    this.#onAir.delete(key);
  }

  #change(change: (outbox: Outbox) => Outbox): void {
    const before = this.outbox.get();
    const after = change(before);
    if (after === before) return;
    saveOutbox(this.#slug, after);
    this.outbox.set(after);
  }

  #flush(): void {
    if (!this.#up || this.#pause !== undefined) return;
    for (const item of unsent(this.outbox.get())) {
      if (this.#onAir.has(item.key)) continue;
      // Counted before it leaves: a crash in between must not look like "never left".
      this.#change((outbox) => tried(outbox, item.key));
      const sent = this.#send({
        event: 'room.message.send',
        body: item.body,
        idempotency_key: item.key,
      });
      if (!sent) return;
      this.#onAir.set(
        item.key,
        setTimeout(() => {
          this.#onAir.delete(item.key);
          this.#flush();
        }, ACK_WITHIN_MS),
      );
    }
  }
}
