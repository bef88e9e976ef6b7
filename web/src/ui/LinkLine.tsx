import { useMessages } from '../i18n/i18n';
import type { Link } from '../presence/city-live';

interface LinkLineProps {
  link: Link;
  offlineText: string;
  onTry: () => void;
}

/** The quiet line on top: says what happened to the connection and lies over nothing that moves. */
export function LinkLine({ link, offlineText, onTry }: LinkLineProps) {
  const m = useMessages();
  const text = {
    live: '',
    connecting: m.connecting,
    reconnecting: m.reconnecting,
    offline: offlineText,
  }[link];
  return (
    <div className={`link-line link-${link}`} role="status">
      {link !== 'live' && (
        <p>
          <span className="link-dot" aria-hidden="true" />
          {text}
          {link !== 'connecting' && (
            <button type="button" className="link-button" onClick={onTry}>
              {m.tryNow}
            </button>
          )}
        </p>
      )}
    </div>
  );
}
