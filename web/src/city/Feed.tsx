import { memo } from 'react';
import type { FeedEvent } from '../api/types';
import { Link } from '../app/router';
import { useLocale, useMessages, type Messages } from '../i18n/i18n';
import { ago, fullMoment, useNow } from '../i18n/time';

const SHOWN = 24;

function words(m: Messages, event: FeedEvent): string {
  const { payload } = event;
  if ('message_id' in payload) return payload.snippet;
  // Kinds that are still to come have a payload of their own.
  if (event.kind !== 'system') return m.feedOther;
  return {
    room_created: m.feedRoomCreated,
    room_archived: m.feedRoomArchived,
    room_opened: m.feedRoomOpened,
  }[payload.action](payload.room_name);
}

const FeedLine = memo(function FeedLine({ event }: { event: FeedEvent }) {
  const m = useMessages();
  const locale = useLocale();
  const now = useNow();
  const said = 'message_id' in event.payload;
  const slug = event.room_slug;
  return (
    <li className="feed-line">
      <p className="feed-head">
        {event.username !== null && <b>{event.username}</b>}
        {event.username === null && event.agent_id !== null && <b>{m.feedAgent}</b>}
        {slug !== null && said && (
          <Link to={`/city/${slug}`} className="feed-room">
            {event.room_name ?? slug}
          </Link>
        )}
        <time dateTime={event.created_at} title={fullMoment(locale, event.created_at)}>
          {ago(locale, event.created_at, now, m.now)}
        </time>
      </p>
      <p className="feed-words">
        {said || slug === null ? (
          words(m, event)
        ) : (
          <Link to={`/city/${slug}`} className="feed-room">
            {words(m, event)}
          </Link>
        )}
      </p>
    </li>
  );
});

export function Feed({ events, loaded }: { events: readonly FeedEvent[]; loaded: boolean }) {
  const m = useMessages();
  return (
    <aside className="feed" aria-labelledby="feed-title">
      <h2 id="feed-title">{m.feed}</h2>
      {events.length === 0 ? (
        <p className="feed-empty">{loaded ? m.feedEmpty : ' '}</p>
      ) : (
        <ol className="feed-list">
          {events.slice(0, SHOWN).map((event) => (
            <FeedLine key={event.id} event={event} />
          ))}
        </ol>
      )}
    </aside>
  );
}
