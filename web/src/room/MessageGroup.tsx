import { memo } from 'react';
import { Clock, RotateCcw, TriangleAlert } from 'lucide-react';
import { errorText, useLocale, useMessages } from '../i18n/i18n';
import { fullMoment, hourAndMinute } from '../i18n/time';
import type { Group, Line } from './grouping';
import { pieces } from './links';
import { PersonWindow, type PersonLamp } from './PersonWindow';

const Words = memo(function Words({ body }: { body: string }) {
  return (
    <>
      {pieces(body).map((piece, index) =>
        piece.kind === 'link' ? (
          <a key={index} href={piece.href} target="_blank" rel="noopener noreferrer nofollow">
            {piece.text}
          </a>
        ) : (
          piece.text
        ),
      )}
    </>
  );
});

export interface LineActions {
  online: boolean;
  onRetry: (key: string) => void;
  onDiscard: (key: string) => void;
}

function OutboxState({ line, actions }: { line: Line; actions: LineActions }) {
  const m = useMessages();
  const item = line.outbox;
  if (item === null) return null;
  if (item.refused === null) {
    const text = actions.online ? m.pending : m.queued;
    return (
      <span className="line-pending" title={text}>
        <Clock aria-hidden="true" />
        <span className={actions.online ? 'visually-hidden' : undefined}>{text}</span>
      </span>
    );
  }
  return (
    <span className="line-refused" role="alert">
      <TriangleAlert aria-hidden="true" />
      <span>
        {m.notSent}. {errorText(m, item.refused)}
      </span>
      <button type="button" className="line-button" onClick={() => actions.onRetry(line.key)}>
        <RotateCcw aria-hidden="true" />
        {m.sendAgain}
      </button>
      <button type="button" className="line-button" onClick={() => actions.onDiscard(line.key)}>
        {m.remove}
      </button>
    </span>
  );
}

interface MessageGroupProps {
  group: Group;
  lamp: PersonLamp;
  actions: LineActions;
}

export const MessageGroup = memo(function MessageGroup({
  group,
  lamp,
  actions,
}: MessageGroupProps) {
  const locale = useLocale();
  const time = (
    <time dateTime={group.at} title={fullMoment(locale, group.at)}>
      {hourAndMinute(locale, group.at)}
    </time>
  );
  return (
    <li
      className={`group ${group.own ? 'group-own' : ''} ${group.continued ? 'group-continued' : ''}`}
    >
      <div className="group-side">
        {group.continued ? time : <PersonWindow name={group.name} lamp={lamp} />}
      </div>
      <div className="group-body">
        <p className={group.continued ? 'visually-hidden' : 'group-head'}>
          <b>{group.name}</b> {!group.continued && time}
        </p>
        {group.lines.map((line) => (
          <div
            key={line.key}
            className={line.outbox === null ? 'line' : 'line line-waiting'}
            data-key={line.key}
          >
            <p className="line-words">
              <Words body={line.body} />
            </p>
            <OutboxState line={line} actions={actions} />
          </div>
        ))}
      </div>
    </li>
  );
});
