/** The messages of one room as a list without doubles and without holes. Pure. */
import type { Message } from '../api/types';

/** Both lists in the order of the room; a message known twice is kept once, the newer copy. */
export function mergeMessages(
  known: readonly Message[],
  incoming: readonly Message[],
): readonly Message[] {
  if (incoming.length === 0) return known;
  const last = known.at(-1);
  const first = incoming[0];
  if (incoming.length === 1 && first && (!last || first.offset === last.offset + 1)) {
    return [...known, first];
  }
  const byOffset = new Map(known.map((message) => [message.offset, message]));
  for (const message of incoming) byOffset.set(message.offset, message);
  return [...byOffset.values()].sort((a, b) => a.offset - b.offset);
}

/** The message before the first hole: positions in a room have no gaps, so a jump is a loss. */
export function beforeFirstGap(messages: readonly Message[]): Message | null {
  for (let i = 1; i < messages.length; i += 1) {
    const previous = messages[i - 1];
    const current = messages[i];
    if (previous && current && current.offset > previous.offset + 1) return previous;
  }
  return null;
}

/** The first position of a room is 1: anything else means that older messages exist. */
export function hasOlder(messages: readonly Message[]): boolean {
  const first = messages[0];
  return first !== undefined && first.offset > 1;
}
