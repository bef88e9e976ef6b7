import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { ArrowDown } from 'lucide-react';
import type { Person } from '../app/session';
import { useLocale, useMessages } from '../i18n/i18n';
import { dayTitle, useNow } from '../i18n/time';
import { rowsOf } from './grouping';
import { MessageGroup, type LineActions } from './MessageGroup';
import { hasOlder } from './messages';
import type { Outbox } from './outbox';
import { lampOf } from './PeoplePanel';
import type { RoomLive, RoomView } from './room-live';

interface ConversationProps {
  live: RoomLive;
  view: RoomView;
  waiting: Outbox;
  me: Person | null;
}

/** Closer to the end than this counts as being at the end. */
const AT_END_PX = 48;
const LOAD_OLDER_WITHIN_PX = 480;

function distanceToEnd(element: HTMLElement): number {
  return element.scrollHeight - element.scrollTop - element.clientHeight;
}

/**
 * Scrolling of a conversation: it stays at the end while one reads the end, stays on the same words
 * while older ones are put above them, and tells the room what is being read.
 */
function useReadingPlace(live: RoomLive, view: RoomView, waiting: Outbox) {
  const scroller = useRef<HTMLDivElement>(null);
  const place = useRef({ atEnd: true, height: 0, firstId: '', waiting: 0 });
  const [away, setAway] = useState(false);

  const look = () => {
    const element = scroller.current;
    if (element === null) return;
    const atEnd = distanceToEnd(element) <= AT_END_PX;
    place.current.atEnd = atEnd;
    setAway(!atEnd);
    live.setReading(atEnd && document.visibilityState === 'visible');
    if (element.scrollTop < LOAD_OLDER_WITHIN_PX) void live.loadOlder();
  };

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const before = place.current;
    const firstId = view.messages[0]?.id ?? '';
    const prepended = before.firstId !== '' && firstId !== before.firstId;
    if (prepended && !before.atEnd) element.scrollTop += element.scrollHeight - before.height;
    else if (before.atEnd || waiting.length > before.waiting) {
      element.scrollTop = element.scrollHeight;
    }
    place.current = {
      atEnd: distanceToEnd(element) <= AT_END_PX,
      height: element.scrollHeight,
      firstId,
      waiting: waiting.length,
    };
  }, [view.messages, view.olderLoading, waiting]);

  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    // A growing composer or a phone's keyboard takes room from below.
    const observer = new ResizeObserver(() => {
      if (place.current.atEnd) element.scrollTop = element.scrollHeight;
    });
    observer.observe(element);
    const seen = () =>
      live.setReading(place.current.atEnd && document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', seen);
    return () => {
      observer.disconnect();
      document.removeEventListener('visibilitychange', seen);
    };
  }, [live, view.phase]);

  useEffect(() => {
    // A page that does not fill the screen cannot be scrolled up: ask for more by itself.
    const element = scroller.current;
    if (element !== null && element.scrollHeight <= element.clientHeight) void live.loadOlder();
  }, [live, view.messages]);

  const toEnd = () => {
    const element = scroller.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  };
  return { scroller, look, toEnd, away };
}

function Emptiness({ view }: { view: RoomView }) {
  const m = useMessages();
  if (view.phase === 'opening') return <p className="talk-opening">{m.openingRoom}</p>;
  return (
    <div className="talk-empty">
      <h2>{m.emptyRoom}</h2>
      <p>{m.emptyRoomHint}</p>
    </div>
  );
}

export function Conversation({ live, view, waiting, me }: ConversationProps) {
  const m = useMessages();
  const locale = useLocale();
  const now = useNow();
  const { scroller, look, toEnd, away } = useReadingPlace(live, view, waiting);
  const rows = useMemo(
    () => rowsOf(view.messages, waiting, me, view.unread.firstId),
    [view.messages, waiting, me, view.unread.firstId],
  );
  const actions = useMemo(
    (): LineActions => ({
      online: view.link === 'live',
      onRetry: (key) => live.delivery.retry(key),
      onDiscard: (key) => live.delivery.discard(key),
    }),
    [live, view.link],
  );

  return (
    <div className="talk">
      {/* Scrolling by keyboard needs the focus, so the log can have it. */}
      <div
        className="talk-scroll"
        ref={scroller}
        onScroll={look}
        tabIndex={0}
        role="region"
        aria-label={m.history}
      >
        {rows.length === 0 ? (
          <Emptiness view={view} />
        ) : (
          <>
            <p className="talk-top">
              {hasOlder(view.messages) ? (view.olderLoading ? m.loadingHistory : ' ') : m.beginning}
            </p>
            <ol className="talk-list">
              {rows.map((row) => {
                if (row.kind === 'day') {
                  return (
                    <li key={row.key} className="day">
                      <span>{dayTitle(locale, row.at, now, m)}</span>
                    </li>
                  );
                }
                if (row.kind === 'unread') {
                  return (
                    <li key={row.key} className="unread">
                      <span>{m.unreadDivider}</span>
                    </li>
                  );
                }
                return (
                  <MessageGroup
                    key={row.key}
                    group={row}
                    lamp={row.agent ? 'agent' : lampOf(view.people, row.authorId)}
                    actions={actions}
                  />
                );
              })}
            </ol>
          </>
        )}
      </div>
      {away && rows.length > 0 && (
        <button type="button" className="to-latest" onClick={toEnd}>
          <ArrowDown aria-hidden="true" />
          {view.unread.count > 0 ? m.newMessages(view.unread.count) : m.toLatest}
        </button>
      )}
    </div>
  );
}
