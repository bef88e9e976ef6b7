import { readStored, writeStored } from '../app/storage';
import { Store, useStore } from '../app/store';
import { en } from './en';
import type { Locale } from './plural';
import { uk, type Messages } from './uk';

export type { Locale, Messages };

const KEY = 'daarion.locale';
const dictionaries: Record<Locale, Messages> = { uk, en };

export const localeStore = new Store<Locale>(readStored(KEY) === 'en' ? 'en' : 'uk');

export function messages(locale: Locale): Messages {
  return dictionaries[locale];
}

export function startLocale(): void {
  const apply = () => {
    document.documentElement.lang = localeStore.get();
  };
  apply();
  localeStore.subscribe(apply);
}

export function toggleLocale(): void {
  const next: Locale = localeStore.get() === 'uk' ? 'en' : 'uk';
  writeStored(KEY, next);
  localeStore.set(next);
}

export function useLocale(): Locale {
  return useStore(localeStore);
}

export function useMessages(): Messages {
  return dictionaries[useLocale()];
}

/** What a refusal means, in the visitor's language; the server's own sentence is English only. */
export function errorText(m: Messages, code: string): string {
  return code in m.errors ? m.errors[code as keyof Messages['errors']] : m.errors.other;
}
