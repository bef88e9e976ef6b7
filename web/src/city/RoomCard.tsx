import { memo } from 'react';
import { Link } from '../app/router';
import { useLocale, useMessages } from '../i18n/i18n';
import { ago, fullMoment, useNow } from '../i18n/time';
import type { CityRoom } from '../presence/city-state';
import { Building } from './Building';
import { glowOf } from './building-plan';
import { typingWords } from './typing-words';

interface RoomCardProps {
  entry: CityRoom;
  names: Readonly<Record<string, string>>;
}

function LastWords({ words }: { words: NonNullable<CityRoom['room']['last_message']> }) {
  const locale = useLocale();
  const m = useMessages();
  const now = useNow();
  return (
    <p className="card-last">
      <span className="card-words">
        <b>{words.username}</b> {words.snippet}
      </span>
      <time dateTime={words.created_at} title={fullMoment(locale, words.created_at)}>
        {ago(locale, words.created_at, now, m.now)}
      </time>
    </p>
  );
}

export const RoomCard = memo(function RoomCard({ entry, names }: RoomCardProps) {
  const m = useMessages();
  const { room, light } = entry;
  const known = light.typingUsers.flatMap((id) => names[id] ?? []);
  return (
    <li className={`card glow-${glowOf(light)}${room.archived ? ' card-archived' : ''}`}>
      <div className="card-ground">
        <Building slug={room.slug} light={light} />
      </div>
      <div className="card-text">
        <h3>
          <Link to={`/city/${room.slug}`} className="card-link">
            {room.name}
          </Link>
        </h3>
        <p className="card-about">{room.description ?? m.noDescription}</p>
        <p className="card-now">
          {room.archived && <span className="badge">{m.archived}</span>}
          <span className={light.online > 0 ? 'lamp lamp-lit' : 'lamp'} aria-hidden="true" />
          <span className="count">{m.online(light.online)}</span>
          {light.typing > 0 && (
            <span className="card-typing">{typingWords(m, known, light.typing)}</span>
          )}
        </p>
        {room.last_message ? (
          <LastWords words={room.last_message} />
        ) : (
          <p className="card-last card-quiet">{m.quiet}</p>
        )}
      </div>
    </li>
  );
});
