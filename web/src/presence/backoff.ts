/**
 * When to try again. Delays double up to a ceiling and half of each is random, so that a city full
 * of browsers does not return in one stampede after a restart.
 */
export interface BackoffPolicy {
  firstMs: number;
  ceilingMs: number;
}

export const socketBackoff: BackoffPolicy = { firstMs: 400, ceilingMs: 20_000 };

/** `attempt` counts failures in a row from 0; `random` is in [0, 1). */
export function backoffDelay(policy: BackoffPolicy, attempt: number, random: number): number {
  const full = Math.min(policy.ceilingMs, policy.firstMs * 2 ** Math.min(attempt, 30));
  return Math.round(full / 2 + (full / 2) * random);
}
