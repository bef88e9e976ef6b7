import { Store, useStore } from '../app/store';
import type { Locale } from './plural';

const TICK_MS = 20_000;

/** The present, as coarse as relative times need it; ticks only while somebody looks. */
const clock = new Store<number>(Date.now());

export function startClock(): void {
  const tick = () => {
    if (document.visibilityState === 'visible') clock.set(Date.now());
  };
  window.setInterval(tick, TICK_MS);
  document.addEventListener('visibilitychange', tick);
}

export function useNow(): number {
  return useStore(clock);
}

const relative: Record<Locale, Intl.RelativeTimeFormat> = {
  uk: new Intl.RelativeTimeFormat('uk', { numeric: 'auto', style: 'short' }),
  en: new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' }),
};

const clockTime: Record<Locale, Intl.DateTimeFormat> = {
  uk: new Intl.DateTimeFormat('uk', { hour: '2-digit', minute: '2-digit' }),
  en: new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' }),
};

const dayName: Record<Locale, Intl.DateTimeFormat> = {
  uk: new Intl.DateTimeFormat('uk', { day: 'numeric', month: 'long' }),
  en: new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long' }),
};

const dayNameWithYear: Record<Locale, Intl.DateTimeFormat> = {
  uk: new Intl.DateTimeFormat('uk', { day: 'numeric', month: 'long', year: 'numeric' }),
  en: new Intl.DateTimeFormat('en', { day: 'numeric', month: 'long', year: 'numeric' }),
};

const fullTime: Record<Locale, Intl.DateTimeFormat> = {
  uk: new Intl.DateTimeFormat('uk', { dateStyle: 'long', timeStyle: 'short' }),
  en: new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short' }),
};

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** "щойно", "5 хв тому", "учора"; `justNow` is the word for less than a minute (or a fast clock). */
export function ago(locale: Locale, then: string, now: number, justNow: string): string {
  const at = Date.parse(then);
  if (Number.isNaN(at)) return '';
  const age = now - at;
  if (age < MINUTE_MS) return justNow;
  if (age < HOUR_MS) return relative[locale].format(-Math.floor(age / MINUTE_MS), 'minute');
  if (age < DAY_MS) return relative[locale].format(-Math.floor(age / HOUR_MS), 'hour');
  if (age < 7 * DAY_MS) return relative[locale].format(-Math.floor(age / DAY_MS), 'day');
  return dayName[locale].format(at);
}

export function hourAndMinute(locale: Locale, at: string): string {
  const time = Date.parse(at);
  return Number.isNaN(time) ? '' : clockTime[locale].format(time);
}

export function fullMoment(locale: Locale, at: string): string {
  const time = Date.parse(at);
  return Number.isNaN(time) ? '' : fullTime[locale].format(time);
}

/** Days of the visitor's own calendar between two moments. */
export function daysBetween(at: number, now: number): number {
  const midnight = (time: number) => {
    const date = new Date(time);
    return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  };
  return Math.round((midnight(now) - midnight(at)) / DAY_MS);
}

export function dayTitle(
  locale: Locale,
  at: number,
  now: number,
  words: { today: string; yesterday: string },
): string {
  const days = daysBetween(at, now);
  if (days === 0) return words.today;
  if (days === 1) return words.yesterday;
  const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? dayName : dayNameWithYear)[locale].format(at);
}
