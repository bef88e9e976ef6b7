/**
 * A page that is closed says so, by a request that outlives it: its sockets may be dead without
 * anybody knowing. The city lets them go as if they had been closed, so whoever only loads the page
 * again is back within the grace and nobody sees him go.
 *
 * A page that the browser keeps (`persisted`) says nothing: it comes back as it was, or its
 * heartbeats cease and the lease ends. A hidden tab stays online, and is away after five minutes
 * (activity.ts): to look something up elsewhere is not to leave.
 */

function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Of this page alone: another tab, and this one loaded again, have their own. */
export const pageKey = randomKey();

type PageTarget = Pick<EventTarget, 'addEventListener' | 'removeEventListener'>;

/** Calls back when the page is closed for good, until the returned function is called. */
export function watchLeaving(leave: () => void, target: PageTarget = window): () => void {
  const hidden = (event: Event) => {
    if (!(event as PageTransitionEvent).persisted) leave();
  };
  target.addEventListener('pagehide', hidden);
  return () => target.removeEventListener('pagehide', hidden);
}
