import type { ReactNode } from 'react';
import { LogOut, Moon, Sun } from 'lucide-react';
import { toggleLocale, useMessages } from '../i18n/i18n';
import { toggleTheme, useTheme } from '../theme/theme';
import { BuildingDefs } from '../city/Building';
import { Link } from './router';
import { signOut, useSession } from './session';

function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
      <path className="mark-wall" d="M4 22V8l4-4h8l4 4v14z" />
      <path className="mark-lamp" d="M7 9h4v4H7zM13 15h4v4h-4z" />
      <path className="mark-dark" d="M13 9h4v4h-4zM7 15h4v4H7z" />
    </svg>
  );
}

function Visitor() {
  const m = useMessages();
  const session = useSession();
  if (session.state !== 'in') {
    return (
      <Link to="/login" className="bar-enter">
        {m.enter}
      </Link>
    );
  }
  return (
    <>
      <span className="bar-name" title={m.signedInAs(session.person.name)}>
        <span className="lamp lamp-lit" aria-hidden="true" />
        <span className="bar-name-text">{session.person.name}</span>
      </span>
      <button type="button" className="icon-button" aria-label={m.leaveCity} onClick={signOut}>
        <LogOut aria-hidden="true" />
      </button>
    </>
  );
}

export function Shell({ children, fixed }: { children: ReactNode; fixed: boolean }) {
  const m = useMessages();
  const theme = useTheme();
  return (
    <div className={fixed ? 'shell shell-fixed' : 'shell'}>
      <a className="skip" href="#content">
        {m.skipToContent}
      </a>
      <BuildingDefs />
      <header className="bar">
        <Link to="/city" className="brand">
          <Mark />
          <span>DAARION</span>
        </Link>
        <div className="bar-tools">
          <button
            type="button"
            className="text-button"
            aria-label={m.switchLanguage}
            onClick={toggleLocale}
          >
            {m.otherLanguageCode}
          </button>
          <button
            type="button"
            className="icon-button"
            aria-label={theme === 'night' ? m.toDay : m.toNight}
            onClick={toggleTheme}
          >
            {theme === 'night' ? <Sun aria-hidden="true" /> : <Moon aria-hidden="true" />}
          </button>
          <Visitor />
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
