import { useId, useState, type SubmitEvent } from 'react';
import { enterAsGuest } from '../api/city';
import { ApiError } from '../api/client';
import { signIn, useSession } from '../app/session';
import { errorText, useMessages } from '../i18n/i18n';

interface NameFormProps {
  className?: string;
  /** Shown above the field; without it the label is only heard. */
  invitation?: string;
  onName?: (name: string) => void;
  onEntered?: () => void;
  autoFocus?: boolean;
}

/** One field and a button: the whole way into the city. */
export function NameForm({ className, invitation, onName, onEntered, autoFocus }: NameFormProps) {
  const m = useMessages();
  const session = useSession();
  const id = useId();
  const remembered = session.state === 'in' ? '' : session.name;
  const [name, setName] = useState(remembered);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const clean = name.trim();
    if (busy) return;
    if (clean === '') {
      setError('required');
      return;
    }
    setBusy(true);
    setError(null);
    enterAsGuest(clean).then(
      (answer) => {
        signIn(answer);
        onEntered?.();
      },
      (failure: unknown) => {
        setBusy(false);
        const refusal = failure instanceof ApiError ? failure : new ApiError(0, 'network');
        setError(refusal.fields[0]?.code ?? refusal.code);
      },
    );
  };

  return (
    <form className={`name-form ${className ?? ''}`} onSubmit={submit} noValidate>
      <label htmlFor={id} className={invitation === undefined ? 'visually-hidden' : 'name-label'}>
        {invitation ?? m.yourName}
      </label>
      <div className="name-row">
        <input
          id={id}
          name="name"
          value={name}
          maxLength={64}
          autoComplete="nickname"
          enterKeyHint="go"
          placeholder={m.namePlaceholder}
          autoFocus={autoFocus}
          aria-invalid={error !== null}
          aria-describedby={error === null ? undefined : `${id}-error`}
          onChange={(event) => {
            setName(event.target.value);
            setError(null);
            onName?.(event.target.value);
          }}
        />
        <button type="submit" className="button button-lamp" disabled={busy}>
          {busy ? m.entering : m.enter}
        </button>
      </div>
      {error !== null && (
        <p id={`${id}-error`} className="field-error" role="alert">
          {errorText(m, error)}
        </p>
      )}
    </form>
  );
}
