import { useEffect, useRef, useState } from 'react';
import { ArrowLeft, Users, X } from 'lucide-react';
import type { Room } from '../api/types';
import { Link } from '../app/router';
import { useSession } from '../app/session';
import { useStore } from '../app/store';
import { Building } from '../city/Building';
import { useMessages } from '../i18n/i18n';
import { cityStore } from '../presence/city-live';
import { dark, type Light } from '../presence/city-state';
import { headcount, type People } from './people';
import { PersonWindow } from './PersonWindow';
import { lampOf, PeopleList } from './PeoplePanel';

const WINDOWS_WIDE = 12;
const WINDOWS_NARROW = 5;

/** People as initials in the windows of one storey; those without a place are counted. */
function Storey({ people }: { people: People }) {
  const m = useMessages();
  const all = headcount(people);
  const shown = people.here.slice(0, WINDOWS_WIDE);
  return (
    <div className="storey">
      <ul className="storey-windows" aria-hidden="true">
        {shown.map((person) => (
          <li key={person.user_id} title={person.username}>
            <PersonWindow name={person.username} lamp={lampOf(people, person.user_id)} />
          </li>
        ))}
      </ul>
      {all > WINDOWS_WIDE && (
        <span className="storey-more wide">{m.morePeople(all - WINDOWS_WIDE)}</span>
      )}
      {all > WINDOWS_NARROW && <span className="storey-more narrow">+{all - WINDOWS_NARROW}</span>}
    </div>
  );
}

function PeopleDialog({ people, onClose }: { people: People; onClose: () => void }) {
  const m = useMessages();
  const session = useSession();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog ref={dialog} className="dialog drawer" aria-labelledby="drawer-title" onClose={onClose}>
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id="drawer-title">{m.whoIsHere}</h2>
          <button type="button" className="icon-button" aria-label={m.close} onClick={onClose}>
            <X aria-hidden="true" />
          </button>
        </header>
        <PeopleList people={people} me={session.state === 'in' ? session.person : null} />
      </div>
    </dialog>
  );
}

interface RoomHeaderProps {
  slug: string;
  room: Room | null;
  people: People;
  signedIn: boolean;
  archived: boolean;
}

/** Inside the room its own socket knows best; outside the city's counts do. */
function useLight(slug: string, people: People, signedIn: boolean): Light {
  const city = useStore(cityStore);
  if (!signedIn || headcount(people) === 0) {
    return city.rooms.find((entry) => entry.room.slug === slug)?.light ?? dark;
  }
  return {
    online: headcount(people),
    away: people.here.filter((person) => person.status === 'away').length,
    typing: people.typing.length,
    typingUsers: [],
  };
}

export function RoomHeader({ slug, room, people, signedIn, archived }: RoomHeaderProps) {
  const m = useMessages();
  const [open, setOpen] = useState(false);
  const light = useLight(slug, people, signedIn);
  return (
    <header className="room-header">
      <Link to="/city" className="icon-button room-back" aria-label={m.backToCity}>
        <ArrowLeft aria-hidden="true" />
      </Link>
      <div className="room-house">
        <Building slug={slug} light={light} />
      </div>
      <div className="room-names">
        <h1>{room?.name ?? m.openingRoom}</h1>
        <p className="room-about">
          {archived && <span className="badge">{m.archived}</span>}
          <span className="count">{m.online(light.online)}</span>
          {room?.description != null && (
            <span className="room-description">{room.description}</span>
          )}
        </p>
      </div>
      {signedIn && <Storey people={people} />}
      {signedIn && (
        <button
          type="button"
          className="icon-button room-people"
          aria-label={m.showPeople}
          onClick={() => setOpen(true)}
        >
          <Users aria-hidden="true" />
        </button>
      )}
      {open && <PeopleDialog people={people} onClose={() => setOpen(false)} />}
    </header>
  );
}
