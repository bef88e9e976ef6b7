import { useState } from 'react';
import { Sky } from '../city/Sky';
import { useMessages } from '../i18n/i18n';
import { initials } from '../room/people';
import { NameForm } from '../ui/NameForm';
import { useTitle } from './page';
import { Link, navigate, safeNext } from './router';
import { useSession } from './session';

/** One field. The window above it lights up with the first letter. */
export function LoginPage() {
  const m = useMessages();
  const session = useSession();
  const [name, setName] = useState(session.state === 'in' ? session.person.name : session.name);
  useTitle(m.enterCity);
  const lit = name.trim() !== '';

  return (
    <section className="scene">
      <Sky />
      <div className="scene-body scene-login">
        <div className={lit ? 'big-window big-window-lit' : 'big-window'} aria-hidden="true">
          <span>{lit ? initials(name) : ''}</span>
        </div>
        <div className="scene-words">
          <h1>{m.enterTitle}</h1>
          {session.state === 'in' ? (
            <>
              <p>{m.signedInAs(session.person.name)}</p>
              <Link to="/city" className="button button-ink">
                {m.goToCity}
              </Link>
            </>
          ) : (
            <>
              <p>{session.state === 'expired' ? m.sessionEnded : m.enterIntro}</p>
              <NameForm
                autoFocus
                onName={setName}
                onEntered={() => navigate(safeNext(window.location.search), { replace: true })}
              />
              <p className="scene-note">{m.enterNote}</p>
            </>
          )}
        </div>
      </div>
    </section>
  );
}
