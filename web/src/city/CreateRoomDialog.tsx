import { useEffect, useId, useRef, useState, type SubmitEvent } from 'react';
import { X } from 'lucide-react';
import { createRoom } from '../api/city';
import { ApiError } from '../api/client';
import { navigate } from '../app/router';
import { expireToken, useSession } from '../app/session';
import { errorText, useMessages } from '../i18n/i18n';
import { cityStore } from '../presence/city-live';
import { roomCreated } from '../presence/city-state';
import { NameForm } from '../ui/NameForm';

type Errors = Partial<Record<'name' | 'description' | 'form', string>>;

/** Each refusal at the field it is about; a slug is made of the name, so it is the name's. */
function errorsOf(failure: unknown): Errors {
  const refusal = failure instanceof ApiError ? failure : new ApiError(0, 'network');
  if (refusal.code === 'slug_taken') return { name: 'slug_taken' };
  const errors: Errors = {};
  for (const { field, code } of refusal.fields) {
    if (field === 'name' || field === 'slug') errors.name = code;
    else if (field === 'description') errors.description = code;
    else errors.form = code;
  }
  return Object.keys(errors).length > 0 ? errors : { form: refusal.code };
}

function RoomForm({ token, onCancel }: { token: string; onCancel: () => void }) {
  const m = useMessages();
  const id = useId();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [busy, setBusy] = useState(false);
  const [errors, setErrors] = useState<Errors>({});

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (busy) return;
    const about = description.trim();
    if (name.trim() === '') {
      setErrors({ name: 'required' });
      return;
    }
    setBusy(true);
    setErrors({});
    createRoom(token, { name: name.trim(), ...(about === '' ? {} : { description: about }) }).then(
      (room) => {
        cityStore.update((city) => roomCreated(city, room));
        navigate(`/city/${room.slug}`);
      },
      (failure: unknown) => {
        setBusy(false);
        setErrors(errorsOf(failure));
        if (failure instanceof ApiError && failure.status === 401) expireToken(token);
      },
    );
  };

  const field = (key: 'name' | 'description') =>
    errors[key] === undefined
      ? { 'aria-invalid': false }
      : { 'aria-invalid': true, 'aria-describedby': `${id}-${key}-error` };
  const message = (key: 'name' | 'description' | 'form') =>
    errors[key] !== undefined && (
      <p id={`${id}-${key}-error`} className="field-error" role="alert">
        {errorText(m, errors[key])}
      </p>
    );

  return (
    <form onSubmit={submit} noValidate className="dialog-form">
      <label htmlFor={`${id}-name`}>{m.roomName}</label>
      <input
        id={`${id}-name`}
        value={name}
        maxLength={80}
        autoFocus
        placeholder={m.roomNamePlaceholder}
        onChange={(event) => setName(event.target.value)}
        {...field('name')}
      />
      {message('name')}
      <label htmlFor={`${id}-description`}>{m.roomDescription}</label>
      <textarea
        id={`${id}-description`}
        value={description}
        maxLength={500}
        rows={3}
        placeholder={m.roomDescriptionPlaceholder}
        onChange={(event) => setDescription(event.target.value)}
        {...field('description')}
      />
      {message('description')}
      {message('form')}
      <div className="dialog-actions">
        <button type="button" className="button button-quiet" onClick={onCancel}>
          {m.cancel}
        </button>
        <button type="submit" className="button button-ink" disabled={busy}>
          {busy ? m.building : m.build}
        </button>
      </div>
    </form>
  );
}

/** Open for as long as it is rendered. */
export function CreateRoomDialog({ onClose }: { onClose: () => void }) {
  const m = useMessages();
  const session = useSession();
  const dialog = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  return (
    <dialog
      ref={dialog}
      className="dialog"
      aria-labelledby="build-title"
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id="build-title">{m.buildRoomTitle}</h2>
          <button type="button" className="icon-button" aria-label={m.close} onClick={onClose}>
            <X aria-hidden="true" />
          </button>
        </header>
        <p className="dialog-intro">{m.buildRoomIntro}</p>
        {session.state === 'in' ? (
          <RoomForm token={session.token} onCancel={onClose} />
        ) : (
          <NameForm
            autoFocus
            invitation={session.state === 'expired' ? m.sessionEnded : m.enterToBuild}
          />
        )}
      </div>
    </dialog>
  );
}
