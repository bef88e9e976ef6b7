import { expect, test } from 'vitest';
import { en } from './en';
import { errorText } from './i18n';
import { plural } from './plural';
import { ago, dayTitle, daysBetween } from './time';
import { uk } from './uk';

const people = { one: 'людина', few: 'людини', many: 'людей', other: 'людини' };

test('Ukrainian word forms follow the number', () => {
  const forms = [0, 1, 2, 4, 5, 11, 12, 14, 21, 22, 25, 101, 111, 1.5];
  expect(forms.map((n) => plural('uk', n, people))).toEqual([
    'людей',
    'людина',
    'людини',
    'людини',
    'людей',
    'людей',
    'людей',
    'людей',
    'людина',
    'людини',
    'людей',
    'людина',
    'людей',
    'людини',
  ]);
});

test('English has two forms', () => {
  const forms = { one: 'person', other: 'people' };
  expect([0, 1, 2, 21].map((n) => plural('en', n, forms))).toEqual([
    'people',
    'person',
    'people',
    'people',
  ]);
});

test('the total of the city reads well', () => {
  expect(uk.peopleInCity(87)).toBe('людей у місті');
  expect(uk.peopleInCity(1)).toBe('людина у місті');
  expect(en.peopleInCity(1)).toBe('person in the city');
});

function sentences(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value === 'function') return [(value as (...args: unknown[]) => string)(3, 3, 3)];
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(sentences);
  return [];
}

test('no sentence mixes the two languages', () => {
  // The switch names the other language in that language.
  const { switchLanguage: ukSwitch, otherLanguageCode: ukCode, ...ukRest } = uk;
  const { switchLanguage: enSwitch, otherLanguageCode: enCode, ...enRest } = en;
  expect([ukSwitch, ukCode, enSwitch, enCode]).toEqual([
    'Switch to English',
    'EN',
    'Перейти на українську',
    'УКР',
  ]);
  const keys = /Enter|Shift/g;
  for (const text of sentences(ukRest)) expect(text.replace(keys, '')).not.toMatch(/[a-z]/i);
  for (const text of sentences(enRest)) expect(text).not.toMatch(/[а-яіїєґ]/i);
});

test('an unknown refusal still says something', () => {
  expect(errorText(uk, 'slug_taken')).toBe(uk.errors.slug_taken);
  expect(errorText(uk, 'never_heard_of')).toBe(uk.errors.other);
});

test('ages are said in words', () => {
  const now = Date.parse('2026-11-20T12:00:00Z');
  expect(ago('uk', '2026-11-20T11:59:30Z', now, 'щойно')).toBe('щойно');
  expect(ago('uk', '2026-11-20T12:00:30Z', now, 'щойно')).toBe('щойно');
  expect(ago('uk', '2026-11-20T11:55:00Z', now, 'щойно')).toMatch(/5 хв/);
  expect(ago('en', '2026-11-20T09:00:00Z', now, 'just now')).toMatch(/3 hr/);
  expect(ago('uk', 'not a time', now, 'щойно')).toBe('');
});

test('days are those of the visitor’s calendar, not spans of 24 hours', () => {
  const late = new Date(2026, 10, 19, 23, 59).getTime();
  const early = new Date(2026, 10, 20, 0, 1).getTime();
  expect(daysBetween(late, early)).toBe(1);
  expect(dayTitle('uk', late, early, uk)).toBe('Учора');
  expect(dayTitle('uk', early, early, uk)).toBe('Сьогодні');
  expect(dayTitle('uk', new Date(2026, 9, 1).getTime(), early, uk)).toBe('1 жовтня');
  expect(dayTitle('uk', new Date(2025, 9, 1).getTime(), early, uk)).toMatch(/2025/);
});
