import { afterEach, expect, test, vi } from 'vitest';
import { createRoom, fetchRooms } from './city';

afterEach(() => {
  vi.unstubAllGlobals();
});

test('what is written and what is read carry the same cookies, and only the former a token', async () => {
  const asked: RequestInit[] = [];
  vi.stubGlobal('fetch', (_path: string, init: RequestInit) => {
    asked.push(init);
    return Promise.resolve(new Response('[]'));
  });
  await createRoom('a-token', { name: 'Кімната' });
  await fetchRooms();
  expect(asked.map(({ credentials }) => credentials)).toEqual(['same-origin', 'same-origin']);
  const tokens = asked.map(({ headers }) => new Headers(headers).get('Authorization'));
  expect(tokens).toEqual(['Bearer a-token', null]);
});
