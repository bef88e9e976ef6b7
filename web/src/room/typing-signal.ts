/** Tells the room that this person types: at once, again every 4 s, and when it stops. */

export const REFRESH_MS = 4_000;
export const IDLE_MS = 5_000;

export class TypingSignal {
  readonly #send: (typing: boolean) => void;
  #sentAt: number | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (typing: boolean) => void) {
    this.#send = send;
  }

  /** A key was pressed and the text is not empty. */
  typed(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.stopped(), IDLE_MS);
    const now = Date.now();
    if (this.#sentAt !== null && now - this.#sentAt < REFRESH_MS) return;
    this.#sentAt = now;
    this.#send(true);
  }

  /** Sent, cleared, left, or idle. */
  stopped(): void {
    clearTimeout(this.#idle);
    if (this.#sentAt === null) return;
    this.#sentAt = null;
    this.#send(false);
  }

  /** The line broke: the server's lease ends by itself, and the next key announces again. */
  forgotten(): void {
    clearTimeout(this.#idle);
    this.#sentAt = null;
  }
}
