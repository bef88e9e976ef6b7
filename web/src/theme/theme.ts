/** Night or day. Chosen by hand it is remembered; otherwise the visitor's clock decides. */
import { readStored, writeStored } from '../app/storage';
import { Store, useStore } from '../app/store';

export type Theme = 'night' | 'day';

const KEY = 'daarion.theme';
const SKY: Record<Theme, string> = { night: '#0B1020', day: '#F4F1EA' };

/** Lamps are lit from 18:00 to 6:00, and for those whose whole system is dark. */
export function defaultTheme(localHour: number, prefersDark: boolean): Theme {
  return localHour >= 18 || localHour < 6 || prefersDark ? 'night' : 'day';
}

export function initialTheme(stored: string | null, localHour: number, dark: boolean): Theme {
  return stored === 'night' || stored === 'day' ? stored : defaultTheme(localHour, dark);
}

export const themeStore = new Store<Theme>('night');

function apply(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  document.querySelector('meta[name="theme-color"]')?.setAttribute('content', SKY[theme]);
}

export function startTheme(): void {
  const dark = window.matchMedia('(prefers-color-scheme: dark)').matches;
  themeStore.set(initialTheme(readStored(KEY), new Date().getHours(), dark));
  apply(themeStore.get());
  themeStore.subscribe(() => apply(themeStore.get()));
}

export function toggleTheme(): void {
  const next: Theme = themeStore.get() === 'night' ? 'day' : 'night';
  writeStored(KEY, next);
  themeStore.set(next);
}

export function useTheme(): Theme {
  return useStore(themeStore);
}
