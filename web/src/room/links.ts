/** Finds web addresses in plain text. Only http and https become links; all else stays text. */

export type Piece = { kind: 'text'; text: string } | { kind: 'link'; text: string; href: string };

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/giu;
const TRAILING = /[.,;:!?…»”’)\]}]$/u;
const OPENING: Record<string, string> = { ')': '(', ']': '[', '}': '{' };

/** Punctuation at the end belongs to the sentence, unless the bracket was opened in the address. */
function trimmed(address: string): string {
  let text = address;
  for (;;) {
    const last = TRAILING.exec(text)?.[0];
    if (last === undefined) return text;
    const opening = OPENING[last];
    if (opening !== undefined && text.split(opening).length >= text.split(last).length) return text;
    text = text.slice(0, -1);
  }
}

function safeHref(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const web = url.protocol === 'https:' || url.protocol === 'http:';
  // "https://bank.example@evil.example" shows one name and leads to another.
  return web && url.username === '' && url.password === '' ? url.href : null;
}

export function pieces(text: string): Piece[] {
  const result: Piece[] = [];
  let from = 0;
  const plain = (to: number) => {
    if (to > from) result.push({ kind: 'text', text: text.slice(from, to) });
  };
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safeHref(address);
    if (href === null) continue;
    plain(match.index);
    result.push({ kind: 'link', text: address, href });
    from = match.index + address.length;
  }
  plain(text.length);
  return result;
}
