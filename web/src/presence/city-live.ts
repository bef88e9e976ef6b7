/**
 * Keeps the state of the city current for as long as the page lives. Somebody with a token holds
 * the presence socket (which is also what makes them present); a passer-by listens to the public
 * stream and asks for the feed now and then.
 */
import { fetchFeed, fetchRooms, leavePage } from '../api/city';
import type { PresenceClientFrame, PresenceServerFrame, PresenceUpdate } from '../api/types';
import { expireToken, sessionStore, type Session } from '../app/session';
import { Store } from '../app/store';
import { watchActivity, type Status } from './activity';
import { backoffDelay, socketBackoff } from './backoff';
import {
  emptyCity,
  feedMerged,
  namesLearned,
  presenceFrame,
  roomsLoaded,
  streamUpdate,
  type CityState,
} from './city-state';
import { pageKey, watchLeaving } from './leaving';
import { ReconnectingSocket, socketUrl, type SocketState } from './reconnecting-socket';

export type Link = 'connecting' | 'live' | 'reconnecting' | 'offline';

export const cityStore = new Store<CityState>(emptyCity);
export const cityLink = new Store<Link>('connecting');
const status = new Store<Status>('online');

const HEARTBEAT_MS = 20_000;
const VISITOR_FEED_MS = 15_000;
const FEED_LIMIT = 40;
export const UNAUTHORIZED = 4401;

/** How a socket's state reads for people; a first connection is not yet a broken one. */
export function linkOf(state: SocketState, wasLive: boolean): Link {
  if (state.state === 'open') return 'live';
  if (state.state === 'waiting' && state.offline) return 'offline';
  if (state.state === 'connecting' && !navigator.onLine) return 'offline';
  return wasLive || state.state === 'waiting' ? 'reconnecting' : 'connecting';
}

/** Loads the lists until they are there; a newer call takes over from an older one. */
class Loader {
  #abort: AbortController | null = null;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  load(): void {
    this.stop();
    const abort = new AbortController();
    this.#abort = abort;
    Promise.all([fetchRooms(abort.signal), fetchFeed(FEED_LIMIT, abort.signal)])
      .then(([rooms, feed]) => {
        this.#attempt = 0;
        cityStore.update((state) => feedMerged(roomsLoaded(state, rooms), feed));
      })
      .catch(() => {
        if (abort.signal.aborted) return;
        if (cityLink.get() !== 'offline') cityLink.set('reconnecting');
        const delay = backoffDelay(socketBackoff, this.#attempt, Math.random());
        this.#attempt += 1;
        this.#timer = setTimeout(() => this.load(), delay);
      });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
  }
}

const loader = new Loader();

function resident(session: Extract<Session, { state: 'in' }>): () => void {
  let wasLive = false;
  cityStore.update((state) =>
    namesLearned({ ...state, cursor: null }, [
      { user_id: session.person.id, username: session.person.name },
    ]),
  );
  const beat = () => socket.send({ event: 'presence.heartbeat', status: status.get() });
  const socket = new ReconnectingSocket<PresenceServerFrame, PresenceClientFrame>({
    finalCodes: [UNAUTHORIZED],
    url: () => {
      const { cursor } = cityStore.get();
      return socketUrl('/ws/city/presence', {
        mode: 'rooms',
        feed: '1',
        token: session.token,
        page: pageKey,
        ...(cursor === null ? {} : { epoch: cursor.epoch, offset: String(cursor.offset) }),
      });
    },
    events: {
      onOpen() {
        beat();
        // What was said while the line was down is in the lists.
        loader.load();
        wasLive = true;
      },
      onFrame: (frame) => cityStore.update((state) => presenceFrame(state, frame)),
      onState(state) {
        if (state.state === 'stopped') expireToken(session.token);
        else cityLink.set(linkOf(state, wasLive));
      },
    },
  });
  const unwatch = watchLeaving(() => leavePage(pageKey, session.token));
  const timer = setInterval(beat, HEARTBEAT_MS);
  const unsubscribe = status.subscribe(beat);
  socket.start();
  wakers.add(socket);
  return () => {
    wakers.delete(socket);
    unwatch();
    clearInterval(timer);
    unsubscribe();
    socket.stop();
  };
}

function passerBy(): () => void {
  let source: EventSource | null = null;
  let attempt = 0;
  let wasLive = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const open = () => {
    clearTimeout(timer);
    timer = undefined;
    const stream = new EventSource('/presence/stream');
    source = stream;
    stream.onopen = () => {
      if (wasLive) loader.load();
      wasLive = true;
      attempt = 0;
      cityLink.set('live');
    };
    stream.onmessage = (event: MessageEvent<string>) => {
      const update = JSON.parse(event.data) as PresenceUpdate;
      cityStore.update((state) => streamUpdate(state, update));
    };
    stream.onerror = () => {
      // The browser's own retry stops for good at an HTTP error, so ours replaces it.
      stream.close();
      cityLink.set(linkOf({ state: 'waiting', attempt, offline: !navigator.onLine }, wasLive));
      timer = setTimeout(open, backoffDelay(socketBackoff, attempt, Math.random()));
      attempt += 1;
    };
  };
  const waker = {
    wake() {
      if (timer === undefined) return;
      attempt = 0;
      open();
    },
  };
  const refresh = setInterval(() => {
    if (document.visibilityState !== 'visible' || source?.readyState !== EventSource.OPEN) return;
    fetchFeed(FEED_LIMIT).then(
      (items) => cityStore.update((state) => feedMerged(state, items)),
      () => undefined, // the stream notices a broken line and says so
    );
  }, VISITOR_FEED_MS);
  const wake = () => waker.wake();
  window.addEventListener('online', wake);
  open();
  wakers.add(waker);
  return () => {
    wakers.delete(waker);
    window.removeEventListener('online', wake);
    clearInterval(refresh);
    clearTimeout(timer);
    source?.close();
  };
}

const wakers = new Set<{ wake(): void }>();

/** "Try now" of the quiet line on top. */
export function wakeCity(): void {
  for (const waker of wakers) waker.wake();
}

/** Lasts as long as the page. */
export function startCity(): void {
  watchActivity(status);
  let token: string | null | undefined;
  let close: () => void = () => undefined;
  const follow = () => {
    const session = sessionStore.get();
    const next = session.state === 'in' ? session.token : null;
    if (next === token) return;
    token = next;
    close();
    cityLink.set('connecting');
    close = session.state === 'in' ? resident(session) : passerBy();
  };
  loader.load();
  follow();
  sessionStore.subscribe(follow);
}
