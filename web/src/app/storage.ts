/**
 * Browser storage that may be full, forbidden or edited by hand: every access can fail. `browser`
 * is shared by all tabs and stays; `tab` survives a reload of this tab only.
 */
export type Area = 'browser' | 'tab';

function storageOf(area: Area): Storage {
  return area === 'tab' ? sessionStorage : localStorage;
}

export function readStored(key: string, area: Area = 'browser'): string | null {
  try {
    return storageOf(area).getItem(key);
  } catch {
    return null;
  }
}

/** False when the browser refused; the value then lives for this page only. */
export function writeStored(key: string, value: string | null, area: Area = 'browser'): boolean {
  try {
    const storage = storageOf(area);
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

/** Forgets what this tab kept: drafts and unsent words belong to the person who leaves. */
export function clearTab(): void {
  try {
    sessionStorage.clear();
  } catch {
    // Forbidden storage has nothing to forget.
  }
}

export function readStoredJson(key: string, area: Area = 'browser'): unknown {
  const text = readStored(key, area);
  if (text === null) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
