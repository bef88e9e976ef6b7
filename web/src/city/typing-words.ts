import type { Messages } from '../i18n/i18n';

/** Who types, as well as we know: names if we have them all, else how many. */
export function typingWords(m: Messages, names: readonly string[], total: number): string {
  const [first, second] = names;
  if (total <= 0) return '';
  if (first === undefined || names.length < Math.min(total, 2)) return m.typingNobodyNamed(total);
  if (total === 1) return m.typingOne(first);
  if (second === undefined) return m.typingNobodyNamed(total);
  return total === 2 ? m.typingTwo(first, second) : m.typingMany(first, second, total - 2);
}
