import { expect, test } from 'vitest';
import { initialTheme } from '../theme/theme';
import { typingWords } from '../city/typing-words';
import { uk } from '../i18n/uk';
import { matchRoute, safeNext } from './router';
import { parseSession } from './session';

test('addresses lead to pages', () => {
  expect(matchRoute('/')).toEqual({ page: 'home' });
  expect(matchRoute('/city')).toEqual({ page: 'city' });
  expect(matchRoute('/city/')).toEqual({ page: 'city' });
  expect(matchRoute('/city/nichna-zmina')).toEqual({ page: 'room', slug: 'nichna-zmina' });
  expect(matchRoute('/login')).toEqual({ page: 'login' });
});

test('everything else is not found', () => {
  for (const path of [
    '/nowhere',
    '/city/A',
    '/city/a/b',
    '/city/-a',
    '/city/%2e',
    `/city/${'a'.repeat(64)}`,
  ]) {
    expect(matchRoute(path)).toEqual({ page: 'missing' });
  }
});

test('after entering one is sent to a page of this site only', () => {
  expect(safeNext('?next=/city/general')).toBe('/city/general');
  for (const next of ['//evil.example', '/\\evil.example', 'https://evil.example', '']) {
    expect(safeNext(`?next=${encodeURIComponent(next)}`)).toBe('/city');
  }
});

test('a stored session is taken only if it is whole', () => {
  expect(parseSession({ token: 't', id: 'u', name: 'Олена' })).toMatchObject({ state: 'in' });
  expect(parseSession({ name: 'Олена', expired: true })).toEqual({
    state: 'expired',
    name: 'Олена',
  });
  for (const spoilt of [null, 7, 'x', [], { token: 't' }, { token: 1, id: 'u', name: 'a' }]) {
    expect(parseSession(spoilt).state).toBe('visitor');
  }
});

test('night begins at six and ends at six, unless chosen otherwise', () => {
  expect([17, 18, 23, 0, 5, 6, 12].map((hour) => initialTheme(null, hour, false))).toEqual([
    'day',
    'night',
    'night',
    'night',
    'night',
    'day',
    'day',
  ]);
  expect(initialTheme(null, 12, true)).toBe('night');
  expect(initialTheme('day', 23, true)).toBe('day');
  expect(initialTheme('spoilt', 12, false)).toBe('day');
});

test('who types is named when all names are known, else counted', () => {
  expect(typingWords(uk, [], 0)).toBe('');
  expect(typingWords(uk, ['Олена'], 1)).toBe('Олена пише…');
  expect(typingWords(uk, ['Олена', 'Тарас'], 2)).toBe('Олена і Тарас пишуть…');
  expect(typingWords(uk, ['Олена', 'Тарас', 'Лев'], 3)).toBe('Олена, Тарас і ще 1 пишуть…');
  expect(typingWords(uk, ['Олена'], 2)).toBe('2 пишуть…');
  expect(typingWords(uk, [], 5)).toBe('5 пишуть…');
});
