import { memo, useRef, useState, type KeyboardEvent } from 'react';
import { Link } from '../app/router';
import { useMessages } from '../i18n/i18n';
import type { CityRoom } from '../presence/city-state';
import { Building } from './Building';
import { glowOf } from './building-plan';
import { Sky } from './Sky';

const Slot = memo(function Slot({ entry, reachable }: { entry: CityRoom; reachable: boolean }) {
  const m = useMessages();
  const { room, light } = entry;
  return (
    <li className={`slot glow-${glowOf(light)}`}>
      <Link
        to={`/city/${room.slug}`}
        className="slot-link"
        tabIndex={reachable ? 0 : -1}
        aria-label={m.buildingLabel(room.name, light.online, light.typing)}
      >
        <Building slug={room.slug} light={light} />
        <span className="slot-name" aria-hidden="true">
          {room.name}
        </span>
        <span className="slot-water" aria-hidden="true">
          <Building slug={room.slug} light={light} className="reflection" />
        </span>
      </Link>
    </li>
  );
});

/** All buildings of the city in one strip. One stop for the Tab key; arrows walk along it. */
export function Skyline({ rooms }: { rooms: readonly CityRoom[] }) {
  const m = useMessages();
  const list = useRef<HTMLUListElement>(null);
  const [current, setCurrent] = useState(0);
  const reachable = Math.min(current, rooms.length - 1);

  const walk = (event: KeyboardEvent) => {
    const steps: Record<string, number> = {
      ArrowRight: reachable + 1,
      ArrowLeft: reachable - 1,
      Home: 0,
      End: rooms.length - 1,
    };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const target = Math.max(0, Math.min(rooms.length - 1, to));
    setCurrent(target);
    list.current?.querySelectorAll('a')[target]?.focus();
  };

  return (
    <div className="skyline">
      <Sky />
      <nav aria-label={m.skyline} aria-describedby="skyline-hint">
        <p id="skyline-hint" className="visually-hidden">
          {m.skylineHint}
        </p>
        <ul className="street" ref={list} onKeyDown={walk}>
          {rooms.map((entry, index) => (
            <Slot key={entry.room.slug} entry={entry} reachable={index === reachable} />
          ))}
        </ul>
      </nav>
    </div>
  );
}
