/**
 * Who the visitor is. The token stays in local storage so that a reload or a second tab is the same
 * person; `expired` remembers the name of somebody whose token was refused, to fill it in again.
 */
import type { GuestSession } from '../api/types';
import { clearTab, readStoredJson, writeStored } from './storage';
import { Store, useStore } from './store';

export interface Person {
  id: string;
  name: string;
}

export type Session =
  | { state: 'visitor'; name: string }
  | { state: 'expired'; name: string }
  | { state: 'in'; token: string; person: Person };

const KEY = 'daarion.session';

export function parseSession(value: unknown): Session {
  const visitor: Session = { state: 'visitor', name: '' };
  if (typeof value !== 'object' || value === null) return visitor;
  const stored = value as Record<string, unknown>;
  const name = typeof stored.name === 'string' ? stored.name : '';
  if (typeof stored.token === 'string' && typeof stored.id === 'string' && name !== '') {
    return { state: 'in', token: stored.token, person: { id: stored.id, name } };
  }
  return { state: stored.expired === true ? 'expired' : 'visitor', name };
}

function serialise(session: Session): string {
  if (session.state === 'in') {
    return JSON.stringify({
      token: session.token,
      id: session.person.id,
      name: session.person.name,
    });
  }
  return JSON.stringify({ name: session.name, expired: session.state === 'expired' });
}

export const sessionStore = new Store<Session>(parseSession(readStoredJson(KEY)));

function change(session: Session): void {
  writeStored(KEY, serialise(session));
  sessionStore.set(session);
}

export function signIn(answer: GuestSession): void {
  change({
    state: 'in',
    token: answer.access_token,
    person: { id: answer.user.id, name: answer.user.display_name },
  });
}

/** The server refused this token. A newer one (another tab entered again) is left alone. */
export function expireToken(token: string): void {
  const session = sessionStore.get();
  if (session.state === 'in' && session.token === token) {
    change({ state: 'expired', name: session.person.name });
  }
}

/** Leaving on purpose leaves nothing behind for the next person at this browser. */
export function signOut(): void {
  clearTab();
  change({ state: 'visitor', name: '' });
}

/** Follows what other tabs of this browser do. */
export function followOtherTabs(): void {
  window.addEventListener('storage', (event) => {
    if (event.key !== KEY) return;
    const session = parseSession(readStoredJson(KEY));
    if (session.state === 'visitor') clearTab();
    sessionStore.set(session);
  });
}

export function useSession(): Session {
  return useStore(sessionStore);
}
