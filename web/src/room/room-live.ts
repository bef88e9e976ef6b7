/**
 * One open room: its history over HTTP, everything after that over its socket, and the words of this
 * person on their way out. Lives from opening the page of a room to leaving it.
 *
 * Order of things: the room is loaded with the cursor it was read at, the socket is opened from that
 * cursor, so nothing falls between the two. After a break the socket resumes from the last message;
 * if the server cannot (`reset`), or a position is missing, the hole is filled over HTTP.
 */
import { fetchMessages, fetchRoom } from '../api/city';
import { ApiError } from '../api/client';
import type { Message, Room, RoomClientFrame, RoomDetail, RoomServerFrame } from '../api/types';
import { expireToken, type Session } from '../app/session';
import { Store } from '../app/store';
import { backoffDelay, socketBackoff } from '../presence/backoff';
import { cityStore, linkOf, UNAUTHORIZED, type Link } from '../presence/city-live';
import { namesLearned, roomArchived, type Cursor } from '../presence/city-state';
import { pageKey } from '../presence/leaving';
import { ReconnectingSocket, socketUrl } from '../presence/reconnecting-socket';
import { Delivery } from './delivery';
import { beforeFirstGap, hasOlder, mergeMessages } from './messages';
import { nobody, peopleFrame, type People } from './people';
import { TypingSignal } from './typing-signal';

export type Phase = 'opening' | 'open' | 'missing';

export interface RoomView {
  phase: Phase;
  link: Link;
  room: Room | null;
  messages: readonly Message[];
  people: People;
  olderLoading: boolean;
  /** What arrived while nobody was reading: where it begins and how much it is. */
  unread: { firstId: string | null; count: number };
  /** The newest arrival for those who listen: a message, or (without a body) a person. */
  news: { name: string; body: string | null } | null;
}

const OLDER_PAGE = 50;
const CATCH_UP_PAGE = 100;
/** After this many pages of a hole it is kinder to start from the newest page again. */
const CATCH_UP_PAGES = 20;
const VISITOR_POLL_MS = 8_000;
const ROOM_NOT_FOUND = 4404;

const closedView: RoomView = {
  phase: 'opening',
  link: 'connecting',
  room: null,
  messages: [],
  people: nobody,
  olderLoading: false,
  unread: { firstId: null, count: 0 },
  news: null,
};

/** Over after `ms`, when the network comes back, when nudged, or when the page is left. */
function waitOnline(ms: number, signal: AbortSignal, nudges: Set<() => void>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      signal.removeEventListener('abort', done);
      nudges.delete(done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener('online', done);
    signal.addEventListener('abort', done);
    nudges.add(done);
  });
}

export class RoomLive {
  readonly view = new Store<RoomView>(closedView);
  readonly delivery: Delivery;
  readonly typing: TypingSignal;
  readonly #slug: string;
  readonly #session: Session;
  #abort = new AbortController();
  #reading = true;
  #cursor: Cursor | null = null;
  #socket: ReconnectingSocket<RoomServerFrame, RoomClientFrame> | null = null;
  #wasLive = false;
  #catchingUp = false;
  #catchUpAgain = false;
  /** What waits for its next try. */
  readonly #nudges = new Set<() => void>();

  constructor(slug: string, session: Session) {
    this.#slug = slug;
    this.#session = session;
    const author = session.state === 'in' ? session.person.id : null;
    this.delivery = new Delivery(slug, author, (frame) => this.#socket?.send(frame) ?? false);
    this.typing = new TypingSignal((typing) => {
      this.#socket?.send({ event: 'room.typing', typing });
    });
  }

  start(): void {
    this.#abort = new AbortController();
    void this.#open();
  }

  stop(): void {
    this.typing.stopped();
    this.#socket?.send({ event: 'room.leave' });
    this.#abort.abort();
    this.delivery.lineDown();
    this.#socket?.stop();
  }

  /** "Try now" of the quiet line. */
  wake(): void {
    this.#socket?.wake();
    for (const nudge of [...this.#nudges]) nudge();
  }

  /** Whether the end of the conversation is on the screen and looked at. */
  setReading(reading: boolean): void {
    if (reading === this.#reading) return;
    this.#reading = reading;
    const { unread } = this.view.get();
    if (reading && unread.count > 0) this.#patch({ unread: { ...unread, count: 0 } });
  }

  say(body: string): void {
    if (this.#session.state !== 'in') return;
    this.typing.stopped();
    this.#patch({ unread: { firstId: null, count: 0 } });
    this.delivery.say(body, this.#session.person.id);
  }

  async loadOlder(): Promise<void> {
    const { messages, olderLoading } = this.view.get();
    const first = messages[0];
    if (first === undefined || olderLoading || !hasOlder(messages)) return;
    this.#patch({ olderLoading: true });
    try {
      const page = await fetchMessages(
        this.#slug,
        { before: first.id },
        OLDER_PAGE,
        this.#abort.signal,
      );
      this.#patch({
        messages: mergeMessages(this.view.get().messages, page.items),
        olderLoading: false,
      });
    } catch {
      // Scrolling up again asks again.
      if (!this.#abort.signal.aborted) this.#patch({ olderLoading: false });
    }
  }

  #patch(change: Partial<RoomView>): void {
    this.view.update((view) => ({ ...view, ...change }));
  }

  async #open(): Promise<void> {
    const { signal } = this.#abort;
    const detail = await this.#persist((asked) => fetchRoom(this.#slug, asked));
    if (detail === null || signal.aborted) return;
    this.#adopt(detail);
    if (this.#session.state === 'in') this.#connect(this.#session);
    else this.#poll();
  }

  #adopt(detail: RoomDetail): void {
    this.#cursor = { epoch: detail.epoch, offset: detail.offset };
    this.#patch({
      phase: 'open',
      room: detail.room,
      messages: detail.messages,
    });
  }

  /** Asks until there is an answer; null when the room is gone or the page was left. */
  async #persist<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    const { signal } = this.#abort;
    const left = () => signal.aborted;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await ask(signal);
      } catch (error) {
        if (left()) return null;
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 404) {
          this.#patch({ phase: 'missing' });
          return null;
        }
        // The question itself is wrong: asking it again cannot help.
        if (error.status === 422) throw error;
        this.#patch({ link: navigator.onLine ? 'reconnecting' : 'offline' });
        await waitOnline(backoffDelay(socketBackoff, attempt, Math.random()), signal, this.#nudges);
        if (left()) return null;
      }
    }
  }

  #connect(session: Extract<Session, { state: 'in' }>): void {
    this.#socket = new ReconnectingSocket({
      finalCodes: [UNAUTHORIZED, ROOM_NOT_FOUND],
      url: () =>
        socketUrl(`/ws/city/rooms/${encodeURIComponent(this.#slug)}`, {
          token: session.token,
          page: pageKey,
          ...(this.#cursor === null
            ? {}
            : { epoch: this.#cursor.epoch, offset: String(this.#cursor.offset) }),
        }),
      events: {
        onOpen: () => {
          this.#wasLive = true;
          this.#socket?.send({ event: 'room.join' });
        },
        onFrame: (frame) => this.#frame(frame),
        onState: (state) => {
          if (state.state !== 'open') {
            this.delivery.lineDown();
            this.typing.forgotten();
            this.#forgetTyping();
          }
          if (state.state !== 'stopped') this.#patch({ link: linkOf(state, this.#wasLive) });
          else if (state.code === ROOM_NOT_FOUND) this.#patch({ phase: 'missing' });
          else expireToken(session.token);
        },
      },
    });
    this.#socket.start();
  }

  #forgetTyping(): void {
    const { people } = this.view.get();
    if (people.typing.length > 0) this.#patch({ people: { ...people, typing: [] } });
  }

  #frame(frame: RoomServerFrame): void {
    if (!('event' in frame)) return;
    const before = this.view.get().people;
    const people = peopleFrame(before, frame);
    if (people !== before) this.#patch({ people });
    switch (frame.event) {
      case 'reset':
        this.#cursor = { epoch: frame.epoch, offset: frame.offset };
        void this.#catchUp(true);
        break;
      case 'room.snapshot':
        this.#cursor = { epoch: frame.epoch, offset: frame.offset };
        cityStore.update((city) => namesLearned(city, frame.online_users));
        this.delivery.lineUp();
        break;
      case 'room.message':
        this.#cursor = { epoch: frame.epoch, offset: frame.offset };
        this.#received([frame.message]);
        this.delivery.arrived([frame.message]);
        break;
      case 'room.message.ack':
        this.delivery.acknowledged(frame, this.view.get().messages);
        break;
      case 'room.join':
        if (frame.user_id !== this.#me() && !before.here.some((p) => p.user_id === frame.user_id)) {
          this.#patch({ news: { name: frame.username, body: null } });
        }
        cityStore.update((city) => namesLearned(city, [frame]));
        break;
      case 'room.presence':
        cityStore.update((city) => namesLearned(city, [frame]));
        break;
      case 'room.archived':
        cityStore.update((city) => roomArchived(city, this.#slug, frame.archived));
        break;
      case 'error':
        if (frame.error === 'unauthorized' || frame.error === 'token_expired') {
          if (this.#session.state === 'in') expireToken(this.#session.token);
        } else {
          this.delivery.refused(frame);
        }
        break;
      default:
        break;
    }
  }

  #me(): string | null {
    return this.#session.state === 'in' ? this.#session.person.id : null;
  }

  /** New words by others count as unread while nobody looks at the end of the conversation. */
  #merge(messages: readonly Message[]): readonly Message[] {
    const view = this.view.get();
    const newest = view.messages.at(-1)?.offset ?? 0;
    const merged = mergeMessages(view.messages, messages);
    const news = messages.filter(
      (message) => message.offset > newest && message.author_user_id !== this.#me(),
    );
    const [first] = news;
    const last = news.at(-1);
    if (first === undefined || last === undefined) {
      this.#patch({ messages: merged });
      return merged;
    }
    const { unread } = view;
    this.#patch({
      messages: merged,
      news: { name: last.username, body: last.body },
      unread: this.#reading
        ? unread
        : {
            firstId: unread.count === 0 ? first.id : unread.firstId,
            count: unread.count + news.length,
          },
    });
    return merged;
  }

  #received(messages: readonly Message[]): void {
    const merged = this.#merge(messages);
    if (beforeFirstGap(merged) !== null) void this.#catchUp(false);
  }

  /**
   * Fills what is missing over HTTP. `fromEnd`: the server cannot say what we missed, so everything
   * after our last message is asked for even if no hole shows.
   */
  async #catchUp(fromEnd: boolean): Promise<void> {
    if (this.#catchingUp) {
      this.#catchUpAgain ||= fromEnd;
      return;
    }
    this.#catchingUp = true;
    try {
      await this.#fill(fromEnd);
      while (this.#takeAgain()) await this.#fill(true);
    } finally {
      this.#catchingUp = false;
    }
  }

  /** Whether the server lost our place once more while a hole was being filled. */
  #takeAgain(): boolean {
    const again = this.#catchUpAgain;
    this.#catchUpAgain = false;
    return again;
  }

  async #fill(fromEnd: boolean): Promise<void> {
    const known = this.view.get().messages;
    let after: Message | null | undefined = fromEnd ? known.at(-1) : beforeFirstGap(known);
    if (after == null) return this.#startAfresh();
    try {
      for (let page = 0; after != null; page += 1) {
        if (page === CATCH_UP_PAGES) {
          await this.#startAfresh();
          return;
        }
        const id: string = after.id;
        const answer = await this.#persist((signal) =>
          fetchMessages(this.#slug, { after: id }, CATCH_UP_PAGE, signal),
        );
        if (answer === null) return;
        const merged = this.#merge(answer.items);
        this.delivery.arrived(answer.items);
        after = answer.has_more ? answer.items.at(-1) : beforeFirstGap(merged);
      }
    } catch {
      // Our position means nothing to the server any more (unknown_cursor).
      await this.#startAfresh();
    }
  }

  /** The newest page instead of what we had; older pages load by scrolling as ever. */
  async #startAfresh(): Promise<void> {
    const page = await this.#persist((signal) =>
      fetchMessages(this.#slug, null, CATCH_UP_PAGE, signal),
    );
    if (page === null) return;
    const newest = page.items.at(-1)?.offset ?? 0;
    const since = this.view.get().messages.filter((message) => message.offset > newest);
    this.#patch({ messages: mergeMessages(page.items, since) });
    this.delivery.arrived(page.items);
  }

  /** A passer-by has no socket: new words are asked for while somebody looks. */
  #poll(): void {
    const { signal } = this.#abort;
    this.#patch({ link: 'live' });
    const ask = async () => {
      if (document.visibilityState !== 'visible') return;
      const last = this.view.get().messages.at(-1);
      try {
        const cursor = last === undefined ? null : { after: last.id };
        const page = await fetchMessages(this.#slug, cursor, CATCH_UP_PAGE, signal);
        this.#patch({ link: 'live' });
        this.#merge(page.items);
      } catch {
        if (!signal.aborted) this.#patch({ link: navigator.onLine ? 'reconnecting' : 'offline' });
      }
    };
    void (async () => {
      const left = () => signal.aborted;
      while (!left()) {
        await waitOnline(VISITOR_POLL_MS, signal, this.#nudges);
        if (!left()) await ask();
      }
    })();
  }
}
