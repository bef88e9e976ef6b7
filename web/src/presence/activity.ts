/**
 * Online or away. Away means five minutes without touching anything, or the tab hidden for that
 * long; the first touch brings the person back.
 */
import { Store } from '../app/store';

export type Status = 'online' | 'away';

export const AWAY_AFTER_MS = 5 * 60_000;

export function statusAt(lastActiveMs: number, nowMs: number): Status {
  return nowMs - lastActiveMs >= AWAY_AFTER_MS ? 'away' : 'online';
}

/** Keeps `status` current until the returned function is called. */
export function watchActivity(status: Store<Status>): () => void {
  let lastActive = Date.now();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const check = () => {
    clearTimeout(timer);
    const now = Date.now();
    status.set(statusAt(lastActive, now));
    const left = lastActive + AWAY_AFTER_MS - now;
    if (left > 0) timer = setTimeout(check, left);
  };
  const active = () => {
    if (document.visibilityState === 'hidden') return;
    const now = Date.now();
    // Pointers move a hundred times a second; a second's grain is plenty.
    if (now - lastActive < 1000 && status.get() === 'online') return;
    lastActive = now;
    check();
  };

  const events = ['pointermove', 'pointerdown', 'keydown', 'wheel', 'touchstart', 'focus'] as const;
  for (const name of events) window.addEventListener(name, active, { passive: true });
  document.addEventListener('visibilitychange', active);
  check();
  return () => {
    clearTimeout(timer);
    for (const name of events) window.removeEventListener(name, active);
    document.removeEventListener('visibilitychange', active);
  };
}
