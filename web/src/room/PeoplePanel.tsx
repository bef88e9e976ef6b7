import type { Person } from '../app/session';
import { useMessages } from '../i18n/i18n';
import { headcount, type People } from './people';
import { PersonWindow, type PersonLamp } from './PersonWindow';

export function lampOf(people: People, id: string): PersonLamp {
  if (people.typing.some((person) => person.user_id === id)) return 'typing';
  const here = people.here.find((person) => person.user_id === id);
  if (here === undefined) return 'dark';
  return here.status === 'away' ? 'dim' : 'lit';
}

export function PeopleList({ people, me }: { people: People; me: Person | null }) {
  const m = useMessages();
  if (headcount(people) === 0) return <p className="people-empty">{m.nobodyHere}</p>;
  const words: Record<PersonLamp, string> = {
    lit: m.statusOnline,
    typing: m.statusTyping,
    dim: m.statusAway,
    dark: '',
    agent: '',
  };
  return (
    <ul className="people-list">
      {people.here.map((person) => {
        const lamp = lampOf(people, person.user_id);
        return (
          <li key={person.user_id}>
            <PersonWindow name={person.username} lamp={lamp} />
            <span className="people-name">
              {person.username}
              {person.user_id === me?.id && <span className="people-you"> ({m.you})</span>}
            </span>
            <span className="people-status">{words[lamp]}</span>
          </li>
        );
      })}
      {people.unnamed > 0 && <li className="people-more">{m.morePeople(people.unnamed)}</li>}
    </ul>
  );
}

/** Who is here, beside the conversation on a wide screen. */
export function PeoplePanel({
  people,
  me,
  signedIn,
}: {
  people: People;
  me: Person | null;
  signedIn: boolean;
}) {
  const m = useMessages();
  return (
    <aside className="people-panel" aria-labelledby="people-title">
      <h2 id="people-title">{m.whoIsHere}</h2>
      {signedIn ? (
        <PeopleList people={people} me={me} />
      ) : (
        <p className="people-empty">{m.peopleForResidents}</p>
      )}
    </aside>
  );
}
