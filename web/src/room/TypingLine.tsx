import type { TypingUser } from '../api/types';
import { typingWords } from '../city/typing-words';
import { useMessages } from '../i18n/i18n';

/** Its place is always there, so that the conversation does not jump when somebody types. */
export function TypingLine({ typing }: { typing: readonly TypingUser[] }) {
  const m = useMessages();
  const names = typing.map((person) => person.username);
  return (
    <p className="typing-line">
      {typing.length > 0 && (
        <>
          <span className="lamp lamp-typing" aria-hidden="true" />
          {typingWords(m, names, names.length)}
        </>
      )}
    </p>
  );
}
