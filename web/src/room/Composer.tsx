import { useEffect, useId, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';
import { SendHorizontal } from 'lucide-react';
import { readStored, writeStored } from '../app/storage';
import { useMessages } from '../i18n/i18n';
import type { TypingSignal } from './typing-signal';

/** The server counts code points, and so do we. */
export const MESSAGE_LIMIT = 10_000;
const WARN_BELOW = 500;

interface ComposerProps {
  slug: string;
  typing: TypingSignal;
  onSay: (body: string) => void;
}

export function Composer({ slug, typing, onSay }: ComposerProps) {
  const m = useMessages();
  const id = useId();
  const draftKey = `daarion.draft.${slug}`;
  const [text, setText] = useState(() => readStored(draftKey, 'tab') ?? '');
  const field = useRef<HTMLTextAreaElement>(null);
  // UTF-16 length is never below the number of code points: count exactly only when it is near.
  const length = text.length > MESSAGE_LIMIT - WARN_BELOW ? Array.from(text).length : text.length;
  const left = MESSAGE_LIMIT - length;
  const sendable = text.trim() !== '' && left >= 0;

  useLayoutEffect(() => {
    const element = field.current;
    if (element === null) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  useEffect(() => () => typing.stopped(), [typing]);

  const change = (next: string) => {
    setText(next);
    writeStored(draftKey, next === '' ? null : next, 'tab');
    if (next.trim() === '') typing.stopped();
    else typing.typed();
  };

  const say = () => {
    if (!sendable) return;
    onSay(text.trim());
    change('');
    field.current?.focus();
  };

  const key = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    say();
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        say();
      }}
    >
      <label htmlFor={id} className="visually-hidden">
        {m.composerLabel}
      </label>
      <textarea
        id={id}
        ref={field}
        rows={1}
        value={text}
        placeholder={m.composerPlaceholder}
        enterKeyHint="send"
        aria-describedby={`${id}-hint`}
        aria-invalid={left < 0}
        onChange={(event) => change(event.target.value)}
        onKeyDown={key}
      />
      <button type="submit" className="composer-send" aria-label={m.send} disabled={!sendable}>
        <SendHorizontal aria-hidden="true" />
      </button>
      <p
        id={`${id}-hint`}
        className={`composer-hint ${left < 0 ? 'over' : left < WARN_BELOW ? 'near' : ''}`}
      >
        {left < 0
          ? m.charactersOver(-left)
          : left < WARN_BELOW
            ? m.charactersLeft(left)
            : m.composerHint}
      </p>
    </form>
  );
}
