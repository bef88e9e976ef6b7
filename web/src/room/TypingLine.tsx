import { typingWords } from '../city/typing-words';
import { useMessages } from '../i18n/i18n';

/**
 * Its place is always there, so that the conversation does not jump when somebody types. Those who
 * have not entered are told how many, as the city tells everybody, and no names.
 */
export function TypingLine({ names, total }: { names: readonly string[]; total: number }) {
  const m = useMessages();
  return (
    <p className="typing-line">
      {total > 0 && (
        <>
          <span className="lamp lamp-typing" aria-hidden="true" />
          {typingWords(m, names, total)}
        </>
      )}
    </p>
  );
}
