import { useEffect, useMemo, useState } from 'react';
import { Archive } from 'lucide-react';
import { Missing } from '../app/Missing';
import { useTitle } from '../app/page';
import { useSession, type Session } from '../app/session';
import { useStore } from '../app/store';
import { useMessages } from '../i18n/i18n';
import { cityStore } from '../presence/city-live';
import { LinkLine } from '../ui/LinkLine';
import { NameForm } from '../ui/NameForm';
import { Announcer } from './Announcer';
import { Composer } from './Composer';
import { Conversation } from './Conversation';
import { shown } from './outbox';
import { PeoplePanel } from './PeoplePanel';
import { RoomHeader } from './RoomHeader';
import { RoomLive } from './room-live';
import { TypingLine } from './TypingLine';

function Invitation({ expired }: { expired: boolean }) {
  const m = useMessages();
  return (
    <div className="invitation">
      <NameForm invitation={expired ? m.sessionEnded : m.enterToTalk} />
    </div>
  );
}

/** Where the composer was: the room can be read, and that is all. */
function ArchiveNote() {
  const m = useMessages();
  return (
    <p className="archive-note" role="status">
      <Archive aria-hidden="true" />
      {m.archivedNote}
    </p>
  );
}

function OpenRoom({ slug, session }: { slug: string; session: Session }) {
  const m = useMessages();
  const [live] = useState(() => new RoomLive(slug, session));
  const view = useStore(live.view);
  const outbox = useStore(live.delivery.outbox);
  const me = session.state === 'in' ? session.person : null;
  // Somebody whose visit expired still sees their unsent words under their name.
  const speaker = session.state === 'expired' ? { id: '', name: session.name } : me;
  useTitle(view.room?.name ?? m.city);
  // The city hears of it wherever one is; what the room said when it was opened may be older.
  const entry = useStore(cityStore).rooms.find(({ room }) => room.slug === slug);
  const archived = entry?.room.archived ?? view.room?.archived ?? false;

  const typing = view.people.typing
    .filter((person) => person.user_id !== me?.id)
    .map((person) => person.username);

  useEffect(() => {
    live.start();
    return () => live.stop();
  }, [live]);

  const waiting = useMemo(() => shown(outbox, view.messages), [outbox, view.messages]);

  if (view.phase === 'missing') {
    return <Missing title={m.roomMissingTitle} text={m.roomMissingText} />;
  }
  return (
    <div className="room">
      <LinkLine
        link={view.link}
        offlineText={me === null ? m.offlineReading : m.offline}
        onTry={() => live.wake()}
      />
      <RoomHeader
        slug={slug}
        room={view.room}
        people={view.people}
        signedIn={me !== null}
        archived={archived}
      />
      <div className="room-body">
        <div className="room-talk">
          <Conversation live={live} view={view} waiting={waiting} me={speaker} />
          <div className="room-foot">
            <TypingLine
              names={typing}
              total={me === null ? (entry?.light.typing ?? 0) : typing.length}
            />
            {archived ? (
              <ArchiveNote />
            ) : me === null ? (
              <Invitation expired={session.state === 'expired'} />
            ) : (
              <Composer slug={slug} typing={live.typing} onSay={(body) => live.say(body)} />
            )}
          </div>
        </div>
        <PeoplePanel people={view.people} me={me} signedIn={me !== null} />
      </div>
      <Announcer news={view.news} />
    </div>
  );
}

/** Another person (or the same one with a fresh token) opens the room anew. */
export function RoomPage({ slug }: { slug: string }) {
  const session = useSession();
  return (
    <OpenRoom
      key={session.state === 'in' ? session.token : session.state}
      slug={slug}
      session={session}
    />
  );
}
