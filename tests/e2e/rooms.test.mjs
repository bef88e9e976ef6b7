// Rooms over HTTP: list, create, derived addresses, detail, join and leave.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newRoom, person, settled, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import { notOverStack, startServer } from './support/server.mjs';
import { Client } from './support/http.mjs';

const city = useCity();
// What somebody has made he finds at once; others, who may be at another replica, a moment later (settled).
const slugs = (rooms) => rooms.map((room) => room.slug);

describe('the list of rooms', () => {
  test('a new city has general, welcome and builders as default rooms', async () => {
    const rooms = await city.api.ok('GET', '/api/city/rooms');
    const defaults = rooms.filter((room) => room.is_default);
    assert.deepEqual(slugs(defaults).sort(), ['builders', 'general', 'welcome']);
    for (const room of defaults) {
      assert.equal(room.id, `room_city_${room.slug}`);
      assert.equal(room.name, room.slug[0].toUpperCase() + room.slug.slice(1));
      assert.equal(room.created_by, null);
      assert.equal(room.members_online, 0);
      assert.equal(room.last_message, null);
    }
  });

  test('default rooms come first, then the newest', async () => {
    const user = person(city);
    const first = await newRoom(city, user);
    const second = await newRoom(city, user);
    const rooms = await user.api.ok('GET', '/api/city/rooms?limit=500');
    const kinds = rooms.map((room) => room.is_default);
    assert.deepEqual(kinds, [...kinds].sort((a, b) => Number(b) - Number(a)));
    const others = slugs(rooms.filter((room) => !room.is_default));
    assert.ok(others.indexOf(second.slug) < others.indexOf(first.slug));
  });

  test('limit and offset cut a window out of the same order', async () => {
    const user = person(city);
    await newRoom(city, user);
    await newRoom(city, user);
    const all = slugs(await user.api.ok('GET', '/api/city/rooms'));
    assert.deepEqual(slugs(await user.api.ok('GET', '/api/city/rooms?limit=2')), all.slice(0, 2));
    const window = await user.api.ok('GET', '/api/city/rooms?limit=2&offset=1');
    assert.deepEqual(slugs(window), all.slice(1, 3));
    assert.deepEqual(await city.api.ok('GET', '/api/city/rooms?offset=100000'), []);
  });

  test('a limit above 500 is taken as 500', async () => {
    await city.api.ok('GET', '/api/city/rooms?limit=501');
    await city.api.ok('GET', '/api/city/rooms?limit=1000000');
  });

  for (const [query, field] of [
    ['limit=0', 'limit'], ['limit=-1', 'limit'], ['limit=abc', 'limit'], ['limit=1.5', 'limit'],
    ['limit=', 'limit'],
    ['offset=-1', 'offset'], ['offset=x', 'offset'],
  ]) {
    test(`a list with ${query} is refused`, async () => {
      const response = await city.api.get(`/api/city/rooms?${query}`);
      assertError(response, 422, 'invalid_input', field);
    });
  }

  test('query parameters that nobody knows are ignored', async () => {
    await city.api.ok('GET', '/api/city/rooms?colour=blue&limit=1');
  });
});

describe('creating a room', () => {
  test('a room is created with the slug that was given and stands in the list', async () => {
    const user = person(city, 'Оленка');
    const room = await user.api.createRoom('Science', { slug: 'science', description: 'Наукова кімната' });
    assert.equal(room.id, 'room_city_science');
    assert.equal(room.slug, 'science');
    assert.equal(room.name, 'Science');
    assert.equal(room.description, 'Наукова кімната');
    assert.equal(room.is_default, false);
    assert.equal(room.created_by, user.id);
    const listed = async (reader) => {
      const rooms = await reader.ok('GET', '/api/city/rooms?limit=500');
      assert.deepEqual(rooms.find((other) => other.slug === 'science'), room);
    };
    await listed(user.api);
    await settled(() => listed(city.api));
  });

  for (const [name, slug] of [
    ['Наука', 'nauka'],
    ['Щастя і Їжак', 'shchastia-i-yizhak'],
    ['Rock & Roll!', 'rock-roll'],
    ['  Ґанок   Є  ', 'ganok-ye'],
    ['UPPER lower 123', 'upper-lower-123'],
  ]) {
    test(`the slug derived from ${JSON.stringify(name)} is ${slug}`, async () => {
      const room = await person(city).api.createRoom(name);
      assert.equal(room.slug, slug);
      assert.equal(room.id, `room_city_${slug}`);
    });
  }

  test('a derived slug never exceeds 63 characters', async () => {
    const { api } = person(city);
    const first = await api.createRoom('щ'.repeat(80));
    const second = await api.createRoom('щ'.repeat(80));
    assert.notEqual(first.slug, second.slug);
    assert.ok(first.slug.length <= 63 && second.slug.length <= 63);
  });

  test('a name without a letter still gets a slug of the right form', async () => {
    const room = await person(city).api.createRoom('🎉🎉🎉');
    assert.match(room.slug, /^[a-z0-9][a-z0-9_-]{0,62}$/);
  });

  test('a derived slug that is taken gets -2, then -3', async () => {
    const { api } = person(city);
    assert.equal((await api.createRoom('Море')).slug, 'more');
    assert.equal((await api.createRoom('Море')).slug, 'more-2');
    assert.equal((await api.createRoom('море')).slug, 'more-3');
  });

  test('a given slug that is taken is refused', async () => {
    const { api } = person(city);
    await api.createRoom('Гори', { slug: 'hory' });
    assertError(await api.post('/api/city/rooms', { name: 'Гори', slug: 'hory' }), 409, 'slug_taken');
    assertError(await api.post('/api/city/rooms', { name: 'G', slug: 'general' }), 409, 'slug_taken');
  });

  test('twenty who create the same slug at once make one room', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => (
      person(city).api.post('/api/city/rooms', { name: 'Перегони', slug: 'race' }))));
    const won = answers.filter((answer) => answer.status === 200);
    assert.equal(won.length, 1);
    for (const answer of answers.filter((other) => other.status !== 200)) {
      assertError(answer, 409, 'slug_taken');
    }
    await settled(async () => {
      const rooms = await city.api.ok('GET', '/api/city/rooms?limit=500');
      assert.equal(rooms.filter((room) => room.slug === 'race').length, 1);
    });
    const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
    assert.equal(feed.filter((event) => event.room_slug === 'race').length, 1);
  });

  test('twenty who create the same name at once make twenty rooms with their own slugs', async () => {
    const rooms = await Promise.all(
      Array.from({ length: 20 }, () => person(city).api.createRoom('Натовп')),
    );
    const expected = ['natovp', ...Array.from({ length: 19 }, (_, i) => `natovp-${i + 2}`)];
    assert.deepEqual(slugs(rooms).sort(), expected.sort());
  });

  test('lengths are counted in code points: 80 of them fit into a name', async () => {
    const name = '🏠'.repeat(80);
    const room = await person(city).api.createRoom(name, { slug: 'eighty' });
    assert.equal(room.name, name);
  });

  test('a description of 500 code points is kept whole', async () => {
    const description = 'ї'.repeat(499) + '🌻';
    const room = await person(city).api.createRoom('Довга', { slug: 'long-text', description });
    assert.equal(room.description, description);
  });

  test('a slug of 63 characters is the longest', async () => {
    const slug = `a${'-'.repeat(61)}z`;
    assert.equal((await person(city).api.createRoom('Край', { slug })).slug, slug);
  });

  for (const [what, body, field, code] of [
    ['without a name', {}, 'name', 'missing'],
    ['with an empty name', { name: '' }, 'name', 'too_short'],
    ['with a name of blanks', { name: '   ' }, 'name'],
    ['with a name of 81', { name: 'x'.repeat(81) }, 'name', 'too_long'],
    ['with a number as name', { name: 5 }, 'name', 'wrong_type'],
    ['with null as name', { name: null }, 'name'],
    ['with a NUL in the name', { name: 'a\u0000b' }, 'name', 'invalid_text'],
    ['with a description of 501', { name: 'x', description: 'y'.repeat(501) }, 'description', 'too_long'],
    ['with an object as description', { name: 'x', description: {} }, 'description', 'wrong_type'],
    ['with an empty slug', { name: 'x', slug: '' }, 'slug'],
    ['with a slug of 64', { name: 'x', slug: 'a'.repeat(64) }, 'slug'],
    ['with capitals in the slug', { name: 'x', slug: 'Science' }, 'slug'],
    ['with a dash first in the slug', { name: 'x', slug: '-a' }, 'slug'],
    ['with a slash in the slug', { name: 'x', slug: 'a/b' }, 'slug'],
    ['with a dot in the slug', { name: 'x', slug: 'a.b' }, 'slug'],
    ['with Cyrillic in the slug', { name: 'x', slug: 'наука' }, 'slug'],
    ['with a line end after the slug', { name: 'x', slug: 'a\n' }, 'slug'],
    ['with a number as slug', { name: 'x', slug: 1 }, 'slug', 'wrong_type'],
  ]) {
    test(`a room ${what} is refused`, async () => {
      const response = await person(city).api.post('/api/city/rooms', body);
      assertError(response, 422, 'invalid_input', field, code);
    });
  }

  test('a room needs a token', async () => {
    assertError(await city.api.post('/api/city/rooms', { name: 'Ніхто' }), 401, 'unauthorized');
  });

  test('creating a room is told in the feed', async () => {
    const user = person(city, 'Марко');
    const room = await newRoom(city, user, { slug: 'announced' });
    const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
    const event = feed.find((other) => other.room_id === room.id);
    assert.equal(event.kind, 'system');
    assert.equal(event.user_id, user.id);
    assert.equal(event.username, 'Марко');
    assert.equal(event.room_slug, room.slug);
    assert.equal(event.room_name, room.name);
    assert.deepEqual(event.payload, {
      action: 'room_created', room_name: room.name, room_slug: room.slug,
    });
  });
});

describe('one room', () => {
  test('the detail is the same by id and by slug', async () => {
    const room = await newRoom(city, person(city));
    const bySlug = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    const byId = await city.api.ok('GET', `/api/city/rooms/${room.id}`);
    assert.deepEqual(byId, bySlug);
  });

  test('the detail has the fields of the room flat and once more under room', async () => {
    const created = await newRoom(city, person(city));
    const { room, messages, online_members, epoch, offset, ...flat } = await city.api
      .ok('GET', `/api/city/rooms/${created.slug}`);
    assert.deepEqual(flat, created);
    assert.deepEqual(room, created);
    assert.deepEqual(messages, []);
    assert.deepEqual(online_members, []);
    assert.equal(offset, 0);
    assert.ok(epoch.length > 0);
  });

  test('the detail has the last fifty messages, oldest first, and the cursor behind them', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    for (let i = 1; i <= 55; i += 1) {
      await user.api.say(room.slug, `слово ${i}`);
    }
    const detail = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    assert.deepEqual(
      detail.messages.map((message) => message.body),
      Array.from({ length: 50 }, (_, i) => `слово ${i + 6}`),
    );
    assert.equal(detail.offset, 55);
    assert.equal(detail.messages.at(-1).offset, 55);
  });

  test('the list shows the last message as one line of at most a hundred code points', async () => {
    const user = person(city, 'Іван');
    const room = await newRoom(city, user);
    const said = await user.api.say(room.slug, `перший рядок\nдругий рядок ${'😀'.repeat(200)}`);
    const { last_message: last, last_event: lastEvent } = await settled(async () => {
      const rooms = await city.api.ok('GET', '/api/city/rooms?limit=500');
      const found = rooms.find((r) => r.id === room.id);
      assert.equal(found?.last_message?.id, said.id);
      return found;
    });
    assert.equal(last.username, 'Іван');
    assert.equal(last.created_at, said.created_at);
    assert.ok(lastEvent >= said.created_at);
    assert.ok(!/[\r\n]/.test(last.snippet));
    assert.ok([...last.snippet].length <= 100);
    assert.ok(last.snippet.startsWith('перший рядок'));
    assert.ok(last.snippet.isWellFormed?.() ?? true);
  });

  for (const name of ['nowhere', 'room_city_nowhere', 'General', '..%2fgeneral', '%00', 'a'.repeat(200)]) {
    const skip = name === '%00' && notOverStack('nginx refuses it');
    test(`the detail of ${JSON.stringify(name.slice(0, 20))} is not found`, { skip }, async () => {
      const response = await city.api.get(`/api/city/rooms/${name}`);
      assert.ok([400, 404].includes(response.status), `${response.status}`);
      if (/^[a-z_]{1,63}$/.test(name)) {
        assertError(response, 404, 'room_not_found');
      }
    });
  }

  test('join and leave answer with the canonical id', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const joined = await user.api.ok('POST', `/api/city/rooms/${room.slug}/join`, {});
    assert.deepEqual(joined, { status: 'joined', room_id: room.id });
    const left = await user.api.ok('POST', `/api/city/rooms/${room.id}/leave`);
    assert.deepEqual(left, { status: 'left', room_id: room.id });
  });

  test('join and leave need a token and a room that exists', async () => {
    const user = person(city);
    for (const verb of ['join', 'leave']) {
      assertError(await city.api.post(`/api/city/rooms/general/${verb}`, {}), 401, 'unauthorized');
      const response = await user.api.post(`/api/city/rooms/nowhere/${verb}`, {});
      assertError(response, 404, 'room_not_found');
    }
  });
});

describe('CITY_DEFAULT_ROOMS', () => {
  test('a list of slugs makes those the default rooms, and starting again changes nothing', async (t) => {
    const server = await startServer({ CITY_DEFAULT_ROOMS: 'plaza,old-town' });
    t.after(() => server.remove());
    const list = () => new Client(server.publicUrl).ok('GET', '/api/city/rooms');
    const rooms = await list();
    assert.deepEqual(slugs(rooms).sort(), ['old-town', 'plaza']);
    assert.ok(rooms.every((room) => room.is_default));
    await server.stop();
    await server.start();
    assert.deepEqual(await list(), rooms);
  });
});
