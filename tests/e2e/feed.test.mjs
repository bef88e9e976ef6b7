// The feed: order, paging, kinds and payloads.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newRoom, person, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';

const city = useCity();
const feed = (query = '') => city.api.ok('GET', `/api/city/feed${query}`);
const ids = (events) => events.map((event) => event.id);

describe('a feed of thirty events', () => {
  let expected;
  before(async () => {
    const user = person(city, 'Літописець');
    const room = await newRoom(city, user);
    expected = [room.slug];
    for (let i = 1; i < 30; i += 1) {
      expected.unshift(`подія ${i}`);
      await user.api.say(room.slug, `подія ${i}`);
    }
  });

  const told = (events) => events.map((event) => event.payload.body ?? event.payload.room_slug);

  test('the newest twenty come first', async () => {
    assert.deepEqual(told(await feed()), expected.slice(0, 20));
  });

  test('limit and offset cut a window', async () => {
    assert.deepEqual(told(await feed('?limit=5&offset=3')), expected.slice(3, 8));
    assert.deepEqual(await feed('?offset=1000'), []);
    assert.deepEqual(await feed('?limit=101'), await feed('?limit=100'));
  });

  test('before walks back to the first event without a gap', async () => {
    const all = [];
    let page = await feed('?limit=7');
    while (page.length > 0) {
      all.push(...page);
      page = await feed(`?limit=7&before=${page.at(-1).id}`);
    }
    assert.deepEqual(told(all).slice(0, 30), expected);
    assert.equal(new Set(ids(all)).size, all.length);
    const times = all.map((event) => event.created_at);
    assert.deepEqual(times, [...times].sort().reverse());
  });

  test('room_message and system have their own payload', async () => {
    for (const event of await feed('?limit=100')) {
      const keys = Object.keys(event.payload).sort();
      if (event.kind === 'room_message') {
        assert.deepEqual(keys, ['body', 'message_id', 'snippet']);
      } else {
        assert.equal(event.kind, 'system');
        assert.deepEqual(keys, ['action', 'room_name', 'room_slug']);
      }
    }
  });

  for (const [query, field, code] of [
    ['limit=0', 'limit'], ['limit=x', 'limit'], ['offset=-1', 'offset'],
    ['before=evt_city_01JD3V5K0Z8QW2N7X4T6R9Y1AB', 'before', 'unknown_cursor'],
    ['before=nonsense', 'before'],
  ]) {
    test(`${query} is refused`, async () => {
      assertError(await city.api.get(`/api/city/feed?${query}`), 422, 'invalid_input', field, code);
    });
  }

  test('a long message is cut to 500 code points in the feed, its snippet to one line of 100', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const body = `рядок\r\nдругий\t${'їжак 🦔 '.repeat(200)}`;
    await user.api.say(room.slug, body);
    const [event] = await feed('?limit=1');
    assert.equal(event.payload.body, [...body].slice(0, 500).join(''));
    assert.ok([...event.payload.snippet].length <= 100);
    assert.ok(!/[\r\n]/.test(event.payload.snippet));
    assert.ok(event.payload.snippet.startsWith('рядок'));
  });
});
