// Waiting for what a homeserver, or the city, shows only when it is asked.
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';

const ASK_EVERY_MS = 20;

const LIMIT_MS = 100_000;

/**
 * Asks until what is answered fits, and returns it. What has not come after so long will not come any more: the test
 * says what it waited for and what there was instead. next: when to ask again.
 */
export async function until(what, ask, fits = Boolean, { limitMs = LIMIT_MS, next = () => pause(ASK_EVERY_MS) } = {}) {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (fits(answer)) {
      return answer;
    }
    if (performance.now() > deadline) {
      throw new Error(`not in ${limitMs} ms: ${what}; instead ${inspect(answer, { depth: 6, maxArrayLength: 1000 })}`);
    }
    await next();
  }
}
