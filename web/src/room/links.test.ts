import { expect, test } from 'vitest';
import { pieces } from './links';

const links = (text: string) =>
  pieces(text).flatMap((piece) => (piece.kind === 'link' ? [piece.href] : []));

test('http and https become links, the words around them stay', () => {
  expect(pieces('див. https://daarion.space/map?x=1#y тут')).toEqual([
    { kind: 'text', text: 'див. ' },
    {
      kind: 'link',
      text: 'https://daarion.space/map?x=1#y',
      href: 'https://daarion.space/map?x=1#y',
    },
    { kind: 'text', text: ' тут' },
  ]);
});

test('no other scheme becomes a link', () => {
  expect(links('javascript:alert(1) data:text/html,x ftp://a.b mailto:a@b.c file:///etc')).toEqual(
    [],
  );
  expect(links('xhttps://a.b')).toEqual([]);
});

test('punctuation at the end belongs to the sentence', () => {
  expect(links('(https://a.b/c), «https://d.e», https://f.g.')).toEqual([
    'https://a.b/c',
    'https://d.e/',
    'https://f.g/',
  ]);
});

test('a bracket that was opened inside the address stays', () => {
  expect(links('https://uk.wikipedia.org/wiki/A_(b)')).toEqual([
    'https://uk.wikipedia.org/wiki/A_(b)',
  ]);
});

test('an address that hides where it leads stays text', () => {
  expect(links('https://bank.example@evil.example/')).toEqual([]);
  expect(links('https://')).toEqual([]);
  expect(links('https://[')).toEqual([]);
});

test('every character of the text is drawn exactly once', () => {
  for (const text of [
    '',
    'слова',
    'https://a.b',
    'a https://a.b b https://[ c',
    '<b>https://x.y</b>',
  ]) {
    expect(
      pieces(text)
        .map((piece) => piece.text)
        .join(''),
    ).toBe(text);
  }
});
