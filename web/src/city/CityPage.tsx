import { useState } from 'react';
import { Plus } from 'lucide-react';
import { useTitle } from '../app/page';
import { useSession } from '../app/session';
import { useStore } from '../app/store';
import { useMessages } from '../i18n/i18n';
import { cityLink, cityStore, wakeCity } from '../presence/city-live';
import type { CityState } from '../presence/city-state';
import { Count } from '../ui/Count';
import { LinkLine } from '../ui/LinkLine';
import { NameForm } from '../ui/NameForm';
import { CreateRoomDialog } from './CreateRoomDialog';
import { Feed } from './Feed';
import { RoomCard } from './RoomCard';
import { Skyline } from './Skyline';

function Total({ city }: { city: CityState }) {
  const m = useMessages();
  const session = useSession();
  const { total } = city;
  return (
    <div className="total">
      <h1>
        {total === null ? (
          <span className="total-words">{m.loadingCity}</span>
        ) : (
          <>
            <span className={total.online > 0 ? 'total-number' : 'total-number total-dark'}>
              <Count value={total.online} />
            </span>{' '}
            <span className="total-words">{m.peopleInCity(total.online)}</span>
          </>
        )}
      </h1>
      {session.state === 'in' ? (
        <p className="total-note">{total?.online === 0 ? m.lightsOffWithRoom : m.windowIsPerson}</p>
      ) : (
        <NameForm
          className="total-enter"
          invitation={session.state === 'expired' ? m.sessionEnded : m.enterInvitation}
        />
      )}
    </div>
  );
}

/** Its place lies over the sky, so nothing moves when the fog comes and goes. */
function StaleNote({ stale }: { stale: boolean }) {
  const m = useMessages();
  return (
    <p className="stale-note" role="status">
      {stale && m.staleCounts}
    </p>
  );
}

function CardSkeletons() {
  return (
    <ul className="cards" aria-hidden="true">
      {[0, 1, 2, 3, 4, 5].map((n) => (
        <li key={n} className="card card-skeleton" />
      ))}
    </ul>
  );
}

export function CityPage() {
  const m = useMessages();
  const city = useStore(cityStore);
  const link = useStore(cityLink);
  const [building, setBuilding] = useState(false);
  useTitle(m.city);

  return (
    <>
      <LinkLine link={link} offlineText={m.offlineReading} onTry={wakeCity} />
      <section className={city.stale ? 'hero hero-stale' : 'hero'}>
        <Skyline rooms={city.rooms} />
        <Total city={city} />
        <StaleNote stale={city.stale} />
      </section>
      <div className="city-ground">
        <section className="rooms" aria-labelledby="rooms-title">
          <header className="rooms-head">
            <h2 id="rooms-title">{m.rooms}</h2>
            <button type="button" className="button button-quiet" onClick={() => setBuilding(true)}>
              <Plus aria-hidden="true" />
              {m.buildRoom}
            </button>
          </header>
          {!city.loaded && <CardSkeletons />}
          {city.loaded && city.rooms.length === 0 && (
            <p className="rooms-empty">
              {m.noRooms} {m.noRoomsHint}
            </p>
          )}
          <ul className="cards">
            {city.rooms.map((entry) => (
              <RoomCard key={entry.room.slug} entry={entry} names={city.names} />
            ))}
          </ul>
        </section>
        <Feed events={city.feed} loaded={city.feedLoaded} />
      </div>
      {building && <CreateRoomDialog onClose={() => setBuilding(false)} />}
    </>
  );
}
