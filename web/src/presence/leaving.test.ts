import { expect, test } from 'vitest';
import { pageKey, watchLeaving } from './leaving';

function pagehide(persisted: boolean): Event {
  return Object.assign(new Event('pagehide'), { persisted });
}

test('a page that is closed says so, one that the browser keeps does not', () => {
  const page = new EventTarget();
  let said = 0;
  const unwatch = watchLeaving(() => (said += 1), page);
  page.dispatchEvent(pagehide(true));
  expect(said).toBe(0);
  page.dispatchEvent(pagehide(false));
  expect(said).toBe(1);
  unwatch();
  page.dispatchEvent(pagehide(false));
  expect(said).toBe(1);
});

test('the key of a page can stand in an address', () => {
  expect(pageKey).toMatch(/^[0-9a-f]{32}$/);
});
