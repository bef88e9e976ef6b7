// Messages over HTTP: posting, fan-out, paging, idempotent retries, Unicode and limits.
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { closing, newRoom, person, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import { openRoom } from './support/sockets.mjs';

const city = useCity();
const at = (room, query = '') => `/api/city/rooms/${room.slug}/messages${query}`;

describe('posting', () => {
  test('a message carries both vocabularies and the identity of the token', async () => {
    const user = person(city, 'Оленка');
    const room = await newRoom(city, user);
    const message = await user.api.ok('POST', at(room), { body: 'Привіт, місто!' });
    assert.equal(message.room_id, room.id);
    assert.equal(message.offset, 1);
    assert.equal(message.author_user_id, user.id);
    assert.equal(message.user_id, user.id);
    assert.equal(message.author_agent_id, null);
    assert.equal(message.username, 'Оленка');
    assert.equal(message.body, 'Привіт, місто!');
    assert.equal(message.text, 'Привіт, місто!');
    assert.deepEqual((await city.api.ok('GET', at(room))).items, [message]);
  });

  test('text is taken where body is missing', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    assert.equal((await user.api.ok('POST', at(room), { text: 'старий клієнт' })).body, 'старий клієнт');
  });

  test('the room may be named by its id', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const message = await user.api.say(room.id, 'за ідентифікатором');
    assert.equal(message.room_id, room.id);
  });

  test('positions count 1, 2, 3 without gaps while many write at once', async () => {
    const room = await newRoom(city, person(city));
    const said = await Promise.all(Array.from({ length: 60 }, (_, i) => (
      person(city).api.say(room.slug, `разом ${i}`))));
    const offsets = said.map((message) => message.offset).sort((a, b) => a - b);
    assert.deepEqual(offsets, Array.from({ length: 60 }, (_, i) => i + 1));
    const history = await city.api.history(room.slug);
    assert.deepEqual(history.map((message) => message.offset), offsets);
    assert.deepEqual(history, said.sort((a, b) => a.offset - b.offset));
  });

  test('a posted message reaches every socket of the room once, the author\'s too', async (t) => {
    const author = person(city);
    const room = await newRoom(city, author);
    const sockets = [
      await openRoom(city.server, room.slug, author),
      await openRoom(city.server, room.id, person(city)),
      await openRoom(city.server, room.slug, person(city)),
    ];
    closing(t, ...sockets);
    const message = await author.api.say(room.slug, 'усім');
    for (const socket of sockets) {
      const frame = await socket.nextFrame('RoomMessage');
      assert.deepEqual(frame.message, message);
      assert.equal(frame.room_id, room.id);
      assert.equal(frame.offset, message.offset);
      await socket.barrier();
      assert.equal(socket.all('RoomMessage').length, 1);
    }
  });

  test('a message does not reach the sockets of another room', async (t) => {
    const user = person(city);
    const here = await newRoom(city, user);
    const there = await newRoom(city, user);
    const socket = await openRoom(city.server, there.slug, user);
    closing(t, socket);
    await user.api.say(here.slug, 'тут');
    await socket.barrier();
    assert.deepEqual(socket.all('RoomMessage'), []);
  });

  test('a message stands in the feed with its body and a snippet', async () => {
    const user = person(city, 'Ганна');
    const room = await newRoom(city, user);
    const message = await user.api.say(room.slug, 'до стрічки');
    const [event] = await city.api.ok('GET', '/api/city/feed?limit=1');
    assert.equal(event.kind, 'room_message');
    assert.equal(event.room_id, room.id);
    assert.equal(event.room_slug, room.slug);
    assert.equal(event.room_name, room.name);
    assert.equal(event.user_id, user.id);
    assert.equal(event.username, 'Ганна');
    assert.deepEqual(event.payload, {
      body: 'до стрічки', snippet: 'до стрічки', message_id: message.id,
    });
  });

  test('a message needs a token and a room that exists', async () => {
    const response = await city.api.post('/api/city/rooms/general/messages', { body: 'x' });
    assertError(response, 401, 'unauthorized');
    const lost = await person(city).api.post('/api/city/rooms/nowhere/messages', { body: 'x' });
    assertError(lost, 404, 'room_not_found');
  });

  test('a user_id that is not mine is refused and nothing is stored', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const response = await user.api.post(at(room), { body: 'не я', user_id: person(city).id });
    assertError(response, 403, 'user_mismatch');
    assert.deepEqual((await city.api.ok('GET', at(room))).items, []);
  });

  test('my own user_id is no harm', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    await user.api.ok('POST', at(room), { body: 'я', user_id: user.id });
  });
});

describe('texts', () => {
  for (const [what, body] of [
    ['Ukrainian with an apostrophe', 'Сім’я п\'ятьох ґаздів їсть їжу'],
    ['emoji joined to a family', '👨‍👩‍👧‍👦 родина 🏳️‍🌈'],
    ['right to left', 'שלום \u202Eabc\u202C مرحبا'],
    ['combining marks, not normalised', 'e\u0301 \u0439 и\u0306'],
    ['line and paragraph separators', 'a\u2028b\u2029c\u0085d'],
    ['quotes, backslashes and HTML', '"\\/<script>alert("x")</script>&amp;\\u0000'],
    ['control characters that JSON must escape', 'a\tb\nc\rd\u0001\u001f\u007f'],
    ['the highest code point and non-characters', '\u{10FFFF}\uFFFE\uFDD0'],
    ['a byte order mark', '\uFEFFпочаток'],
    ['SQL and format strings', "'; DROP TABLE city_rooms; -- %s%n $1 ? :a"],
  ]) {
    test(`${what}: what was said is what is read, over HTTP and the socket`, async (t) => {
      const user = person(city);
      const room = await newRoom(city, user);
      const socket = await openRoom(city.server, room.slug, user);
      closing(t, socket);
      assert.equal((await user.api.say(room.slug, body)).body, body);
      assert.equal((await socket.nextFrame('RoomMessage')).message.body, body);
      assert.equal((await city.api.ok('GET', at(room))).items[0].body, body);
    });
  }

  test('10000 code points are allowed, each of four bytes', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    const body = '😀'.repeat(10000);
    assert.equal((await user.api.say(room.slug, body)).body, body);
    assert.equal((await socket.nextFrame('RoomMessage')).message.body, body);
    const [event] = await city.api.ok('GET', '/api/city/feed?limit=1');
    assert.equal(event.payload.body, '😀'.repeat(500));
    assert.ok([...event.payload.snippet].length <= 100);
  });

  for (const [what, body, field, code] of [
    ['without body', {}, 'body', 'missing'],
    ['with an empty body', { body: '' }, 'body', 'too_short'],
    ['with an empty text', { text: '' }, undefined, undefined],
    ['of 10001 code points', { body: 'x'.repeat(10001) }, 'body', 'too_long'],
    ['with a number as body', { body: 1 }, 'body', 'wrong_type'],
    ['with null as body', { body: null }, 'body', undefined],
    ['with a list as body', { body: ['x'] }, 'body', 'wrong_type'],
    ['with a NUL', { body: 'a\u0000b' }, 'body', 'invalid_text'],
    ['with an idempotency key of 129', { body: 'x', idempotency_key: 'k'.repeat(129) }, 'idempotency_key', undefined],
    ['with an empty idempotency key', { body: 'x', idempotency_key: '' }, 'idempotency_key', undefined],
    ['with Cyrillic in the idempotency key', { body: 'x', idempotency_key: 'ключ' }, 'idempotency_key', undefined],
  ]) {
    test(`a message ${what} is refused and not stored`, async () => {
      const user = person(city);
      const room = await newRoom(city, user);
      assertError(await user.api.post(at(room), body), 422, 'invalid_input', field, code);
      assert.deepEqual((await city.api.ok('GET', at(room))).items, []);
    });
  }

  for (const [what, bytes] of [
    ['an overlong encoding', [0xc0, 0x80]],
    ['a lone continuation byte', [0x80]],
    ['a surrogate in UTF-8', [0xed, 0xa0, 0x80]],
    ['a code point above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a cut sequence', [0xe2, 0x82]],
  ]) {
    test(`a body with ${what} is refused`, async () => {
      const user = person(city);
      const body = Buffer.concat([Buffer.from('{"body":"'), Buffer.from(bytes), Buffer.from('"}')]);
      const response = await user.api.request('POST', '/api/city/rooms/general/messages', {
        body, headers: { 'Content-Type': 'application/json' },
      });
      assert.ok([400, 422].includes(response.status), response.text);
    });
  }

  for (const json of ['', '{', '[', '{"body":"x"', '{"body":"x"} x', 'null x', "{'body':'x'}",
    '{"body":"\\ud800"}', '{"body":undefined}', '\ufeff{', '{"body":"a\nb"}']) {
    test(`a body of ${JSON.stringify(json)} is refused`, async () => {
      const user = person(city);
      const response = await user.api.request('POST', '/api/city/rooms/general/messages', {
        body: json, headers: { 'Content-Type': 'application/json' },
      });
      assert.ok([400, 422].includes(response.status), response.text);
      if (json !== '' && !json.includes('ud800')) {
        assertError(response, 400, 'invalid_json');
      }
    });
  }

  for (const json of ['null', '[]', '"body"', '1', 'true', '[{"body":"x"}]']) {
    test(`JSON that is no object (${json}) is refused as input`, async () => {
      const response = await person(city).api.request('POST', '/api/city/rooms/general/messages', {
        body: json, headers: { 'Content-Type': 'application/json' },
      });
      assertError(response, 422, 'invalid_input');
    });
  }

  test('JSON nested deeper than 32 is refused', async () => {
    const body = `{"body":"x","deep":${'['.repeat(40)}${']'.repeat(40)}}`;
    const response = await person(city).api.request('POST', '/api/city/rooms/general/messages', {
      body, headers: { 'Content-Type': 'application/json' },
    });
    assertError(response, 400, 'invalid_json');
  });

  test('a body that is not declared as JSON is refused', async () => {
    const response = await person(city).api.request('POST', '/api/city/rooms/general/messages', {
      body: 'body=x', headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    });
    assertError(response, 415, 'unsupported_media_type');
  });

  test('JSON with a charset is JSON', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    await user.api.ok('POST', at(room), { body: 'x' }, {
      headers: { 'Content-Type': 'application/json; charset=utf-8' },
    });
  });
});

describe('paging over 130 messages', () => {
  let room;
  let all;
  before(async () => {
    const user = person(city);
    room = await newRoom(city, user);
    all = [];
    for (let i = 1; i <= 130; i += 1) {
      all.push(await user.api.say(room.slug, `повідомлення ${i}`));
    }
  });

  test('without a cursor come the last fifty', async () => {
    const page = await city.api.ok('GET', at(room));
    assert.deepEqual(page.items, all.slice(80));
    assert.equal(page.has_more, true);
    assert.equal(page.offset, 130);
  });

  test('before walks back to the first message without a gap', async () => {
    const collected = [];
    let query = '?limit=50';
    const sizes = [];
    for (;;) {
      const page = await city.api.ok('GET', at(room, query));
      collected.unshift(...page.items);
      sizes.push(page.items.length);
      if (!page.has_more) {
        break;
      }
      query = `?limit=50&before=${page.items[0].id}`;
    }
    assert.deepEqual(sizes, [50, 50, 30]);
    assert.deepEqual(collected, all);
  });

  test('after walks on to the last message without a gap', async () => {
    const collected = [all[0]];
    for (;;) {
      const page = await city.api.ok('GET', at(room, `?limit=40&after=${collected.at(-1).id}`));
      collected.push(...page.items);
      if (!page.has_more) {
        break;
      }
    }
    assert.deepEqual(collected, all);
  });

  test('has_more is false exactly at the edges', async () => {
    const back = await city.api.ok('GET', at(room, `?limit=10&before=${all[10].id}`));
    assert.deepEqual(back.items, all.slice(0, 10));
    assert.equal(back.has_more, false);
    const more = await city.api.ok('GET', at(room, `?limit=10&before=${all[11].id}`));
    assert.deepEqual(more.items, all.slice(1, 11));
    assert.equal(more.has_more, true);
    const on = await city.api.ok('GET', at(room, `?limit=9&after=${all[120].id}`));
    assert.deepEqual(on.items, all.slice(121));
    assert.equal(on.has_more, false);
    const whole = await city.api.ok('GET', at(room, `?limit=8&after=${all[120].id}`));
    assert.equal(whole.has_more, true);
  });

  test('nothing comes before the first and after the last message', async () => {
    for (const [query, offset] of [[`?before=${all[0].id}`, 1], [`?after=${all[129].id}`, 130]]) {
      const page = await city.api.ok('GET', at(room, query));
      assert.deepEqual(page.items, []);
      assert.equal(page.has_more, false);
      assert.equal(page.offset, offset); // of the cursor, as there is no item
    }
  });

  test('pages of 1 and of 100 are allowed', async () => {
    assert.deepEqual((await city.api.ok('GET', at(room, '?limit=1'))).items, all.slice(129));
    assert.deepEqual((await city.api.ok('GET', at(room, '?limit=100'))).items, all.slice(30));
  });

  test('a limit above 100 is taken as 100', async () => {
    assert.deepEqual((await city.api.ok('GET', at(room, '?limit=101'))).items, all.slice(30));
  });

  test('page, detail and socket agree about the cursor', async (t) => {
    const page = await city.api.ok('GET', at(room, '?limit=1'));
    const detail = await city.api.ok('GET', `/api/city/rooms/${room.slug}`);
    const socket = await openRoom(city.server, room.slug, person(city));
    closing(t, socket);
    const cursor = ({ epoch, offset }) => ({ epoch, offset });
    assert.deepEqual(cursor(page), cursor(detail));
    assert.deepEqual(cursor(socket.snapshot), cursor(detail));
  });

  for (const query of ['limit=0', 'limit=-5', 'limit=many', 'limit=']) {
    test(`a page with ${query} is refused`, async () => {
      assertError(await city.api.get(at(room, `?${query}`)), 422, 'invalid_input', 'limit');
    });
  }

  test('before and after at once are refused', async () => {
    const query = `?before=${all[5].id}&after=${all[1].id}`;
    assertError(await city.api.get(at(room, query)), 422, 'invalid_input');
  });

  for (const cursor of ['before', 'after']) {
    test(`${cursor} with an id that nobody has is refused as an unknown cursor`, async () => {
      const query = `?${cursor}=m_city_01JD3V5K0Z8QW2N7X4T6R9Y1AB`;
      const response = await city.api.get(at(room, query));
      assertError(response, 422, 'invalid_input', cursor, 'unknown_cursor');
    });

    test(`${cursor} with a message of another room is refused as an unknown cursor`, async () => {
      const user = person(city);
      const elsewhere = await newRoom(city, user);
      const message = await user.api.say(elsewhere.slug, 'деінде');
      const response = await city.api.get(at(room, `?${cursor}=${message.id}`));
      assertError(response, 422, 'invalid_input', cursor, 'unknown_cursor');
    });
  }

  test('messages of a room that does not exist are not found', async () => {
    assertError(await city.api.get('/api/city/rooms/nowhere/messages'), 404, 'room_not_found');
  });
});

describe('idempotent retries', () => {
  test('the same key by the same author gives the same message, stored and sent once', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    const first = await user.api.say(room.slug, 'раз', 'key-1');
    const second = await user.api.say(room.slug, 'раз', 'key-1');
    assert.deepEqual(second, first);
    await socket.barrier();
    assert.deepEqual(socket.all('RoomMessage').map((frame) => frame.message), [first]);
    assert.deepEqual(await city.api.history(room.slug), [first]);
    const feed = await city.api.ok('GET', '/api/city/feed?limit=100');
    assert.equal(feed.filter((event) => event.payload.message_id === first.id).length, 1);
  });

  test('twenty retries at once store one message', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => user.api.say(room.slug, 'двадцять разів', 'storm')),
    );
    for (const answer of answers) {
      assert.deepEqual(answer, answers[0]);
    }
    assert.equal(answers[0].offset, 1);
    assert.deepEqual(await city.api.history(room.slug), [answers[0]]);
    assert.equal((await user.api.say(room.slug, 'далі')).offset, 2);
  });

  test('the key may stand in the body, and the socket takes the same key as a retry', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    const first = await user.api.ok('POST', at(room), { body: 'тут', idempotency_key: 'both ways' });
    assert.deepEqual(await user.api.say(room.slug, 'тут', 'both ways'), first);
    socket.send({ event: 'room.message.send', body: 'тут', idempotency_key: 'both ways' });
    const ack = await socket.nextFrame('RoomMessageAck');
    assert.equal(ack.message_id, first.id);
    assert.deepEqual(await city.api.history(room.slug), [first]);
  });

  test('the same key of another author is another message', async () => {
    const one = person(city);
    const two = person(city);
    const room = await newRoom(city, one);
    const first = await one.api.say(room.slug, 'моє', 'shared');
    const second = await two.api.say(room.slug, 'твоє', 'shared');
    assert.notEqual(second.id, first.id);
    assert.equal((await city.api.history(room.slug)).length, 2);
  });

  test('a key that has stored other words is a conflict, over HTTP and socket, and nothing is lost', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    const socket = await openRoom(city.server, room.slug, user);
    closing(t, socket);
    const first = await user.api.say(room.slug, 'перші слова', 'spent');
    const second = await user.api.post(at(room), { body: 'інші слова', idempotency_key: 'spent' });
    assertError(second, 409, 'idempotency_conflict');
    socket.send({ event: 'room.message.send', body: 'ще інші', idempotency_key: 'spent' });
    const error = await socket.nextFrame('RoomError');
    assert.equal(error.error, 'idempotency_conflict');
    assert.equal(error.idempotency_key, 'spent');
    assert.deepEqual(await user.api.say(room.slug, 'перші слова', 'spent'), first);
    assert.deepEqual(await city.api.history(room.slug), [first]);
  });

  test('of two that use one key at once for different words one is told', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const answers = await Promise.all(['а', 'б'].map((body) => (
      user.api.post(at(room), { body, idempotency_key: 'race' }))));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
    const stored = answers.find(({ status }) => status === 200).json;
    assert.deepEqual(await city.api.history(room.slug), [stored]);
  });

  test('different keys and no key make different messages', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    await user.api.say(room.slug, 'те саме', 'a');
    await user.api.say(room.slug, 'те саме', 'b');
    await user.api.say(room.slug, 'те саме');
    await user.api.say(room.slug, 'те саме');
    assert.equal((await city.api.history(room.slug)).length, 4);
  });

  test('a key of 128 printable characters is the longest', async () => {
    const user = person(city);
    const room = await newRoom(city, user);
    const key = `!${'~'.repeat(127)}`;
    const first = await user.api.say(room.slug, 'довгий ключ', key);
    assert.deepEqual(await user.api.say(room.slug, 'довгий ключ', key), first);
    const response = await user.api.post(at(room), { body: 'x' }, {
      headers: { 'Idempotency-Key': 'k'.repeat(129) },
    });
    assertError(response, 422, 'invalid_input');
    assert.equal((await city.api.history(room.slug)).length, 1);
  });
});
