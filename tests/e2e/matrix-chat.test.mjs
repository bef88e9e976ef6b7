// Chat between city rooms and their Matrix rooms, over a homeserver that does what these tests tell it to;
// tests/matrix has the real one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ADA, bodies, counter, newRoom, push, pushed, pushFirst, text, untilCounter, untilSaid, useChat,
} from './support/chat.mjs';
import { closing, internalHeaders, person } from './support/city.mjs';
import {
  ADMIN_TOKEN, AS_TOKEN, HS_TOKEN, SENDER, SERVER_NAME,
} from './support/homeserver.mjs';
import { assertError, Client } from './support/http.mjs';
import { startServer } from './support/server.mjs';
import { openPresence, openRoom } from './support/sockets.mjs';

const encode = encodeURIComponent;

describe('from Matrix', () => {
  const rig = useChat();

  test('a message reaches the room, its socket and the feed, with its author, once', async (t) => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    const socket = await openRoom(rig.server, room.slug, user);
    closing(t, socket);
    const event = text(rig, room, ADA, 'Привіт, місто!');
    for (const id of [2, 2, 1]) { // Synapse repeats, and begins its ids anew
      await pushed(rig, [event], { id });
    }
    const frame = await socket.nextFrame((f) => f.event === 'room.message');
    assert.equal(frame.message.body, 'Привіт, місто!');
    assert.equal(frame.message.author_user_id, ADA);
    assert.equal(frame.message.username, 'Ада');
    await socket.barrier();
    assert.equal(socket.frames.filter((f) => f.frame.event === 'room.message').length, 1);
    const [message, ...more] = await rig.api.history(room.slug);
    assert.deepEqual(more, []);
    assert.deepEqual(message, frame.message);
    const feed = await rig.api.ok('GET', '/api/city/feed?limit=10');
    const told = feed.filter((entry) => entry.payload.message_id === message.id);
    assert.equal(told.length, 1);
    assert.equal(told[0].user_id, ADA);
    assert.equal(told[0].username, 'Ада');
    // It does not go back.
    await user.api.say(room.slug, 'і тобі');
    assert.deepEqual((await untilSaid(rig, room, 1)).map(([, body]) => body), ['і тобі']);
  });

  test('a resident in a Matrix client is the same resident', async () => {
    const user = person(rig, 'Оленка');
    const room = await newRoom(rig, user);
    const boot = await user.api.ok('GET', `/api/city/chat/bootstrap?room_slug=${room.slug}`);
    const id = boot.matrix_user_id;
    await pushed(rig, [text(rig, room, id, 'з телефона')]);
    const [message] = await rig.api.history(room.slug);
    assert.equal(message.author_user_id, user.id);
    assert.equal(message.username, 'Оленка');
    // Somebody of that form whom the city has not made is a stranger.
    await pushed(rig, [text(rig, room, `@daarion.nobody:${SERVER_NAME}`, 'я теж')]);
    assert.equal((await rig.api.history(room.slug))[1].author_user_id, `@daarion.nobody:${SERVER_NAME}`);
  });

  test('names are those of the room: asked for once, and as member events say', async () => {
    const room = await newRoom(rig, person(rig));
    const id = room.matrix_room_id;
    const asked = () => rig.homeserver.asked(/GET .*m.room.member/).filter((call) => call.parts[5] === id).length;
    await pushed(rig, [text(rig, room, ADA, '1'), text(rig, room, ADA, '2')]);
    await pushed(rig, [text(rig, room, ADA, '3')]);
    assert.equal(asked(), 1);
    const member = (user, content) => rig.homeserver.makeEvent(id, user, { membership: 'join', ...content },
      { type: 'm.room.member', state_key: user });
    const bob = `@bob:${SERVER_NAME}`;
    await pushed(rig, [member(ADA, { displayname: 'Ada Lovelace' }), text(rig, room, ADA, '4'),
      member(bob, {}), text(rig, room, bob, '5'),
      member(bob, { displayname: 'x\u0007y' }), text(rig, room, bob, '6'),
      member(bob, { displayname: 'Б'.repeat(200) }), text(rig, room, bob, '7')]);
    // Names that the city takes from nobody are none; what is said under them is heard all the same.
    const dora = `@dora:${SERVER_NAME}`;
    for (const displayname of ['\u202earoD', '\u2068Dora\u2069', '\u2003\u00a0']) {
      await pushed(rig, [member(dora, { displayname }), text(rig, room, dora, 'тут')]);
    }
    assert.equal(asked(), 1);
    // Whom nobody knows is called by his localpart, and asked for again.
    const carl = '@carl:elsewhere.test';
    await pushed(rig, [text(rig, room, carl, '8')]);
    rig.homeserver.addMember(id, carl, 'Carl');
    await pushed(rig, [text(rig, room, carl, '9')]);
    const names = (await rig.api.history(room.slug)).map((message) => message.username);
    assert.deepEqual(names, ['Ада', 'Ада', 'Ада', 'Ada Lovelace', 'bob', 'bob', 'Б'.repeat(64),
      'dora', 'dora', 'dora', 'carl', 'Carl']);
  });

  test('the longest ids fit', async (t) => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    const socket = await openRoom(rig.server, room.slug, user);
    closing(t, socket);
    const long = `@${'a'.repeat(255 - SERVER_NAME.length - 2)}:${SERVER_NAME}`;
    await pushed(rig, [{ ...text(rig, room, long, 'довге ім\'я'), event_id: `$${'e'.repeat(254)}` }]);
    const frame = await socket.nextFrame((f) => f.event === 'room.message');
    assert.equal(frame.message.author_user_id, long);
    assert.equal(frame.message.username, 'a'.repeat(64));
  });

  test('what is no text is said honestly', async () => {
    const room = await newRoom(rig, person(rig));
    const event = (content) => rig.homeserver.makeEvent(room.matrix_room_id, ADA, content);
    await pushed(rig, [
      event({ msgtype: 'm.notice', body: 'оголошення' }),
      event({ msgtype: 'm.emote', body: 'махає' }),
      event({ msgtype: 'm.image', body: 'кіт.png', url: 'mxc://x/y' }),
      event({ msgtype: 'm.file', body: 'план.pdf' }),
      event({ msgtype: 'org.example.poll', body: 'Що робимо?' }),
      // A correction is what those see who cannot show it in place.
      event({ msgtype: 'm.text', body: '* виправлено', 'm.new_content': { msgtype: 'm.text', body: 'виправлено' },
        'm.relates_to': { rel_type: 'm.replace', event_id: '$x' } }),
      event({ msgtype: 'm.text', body: `> <${ADA}> Що робимо?\n\nГуляємо`,
        'm.relates_to': { 'm.in_reply_to': { event_id: '$x' } } }),
      event({ msgtype: 'm.text', body: ' \u00a0 ' }),
      event({ msgtype: 'm.text', body: 'рядок\nдругий \u{1F600} \u202E\t' }),
    ]);
    assert.deepEqual(await bodies(rig, room), ['оголошення', '* махає', '[image] кіт.png', '[file] план.pdf',
      'Що робимо?', '* виправлено', 'Гуляємо', 'рядок\nдругий \u{1F600} \u202E\t']);
  });

  test('what can never be stored keeps nobody waiting', async () => {
    const user = person(rig);
    const [room, closed] = [await newRoom(rig, user), await newRoom(rig, user)];
    await rig.internal.ok('POST', `/internal/city/rooms/${closed.slug}/archive`, undefined, { headers: internalHeaders });
    const event = (content, more) => rig.homeserver.makeEvent(room.matrix_room_id, ADA, content, more);
    const odd = [
      event({}), // redacted
      event({ msgtype: 'm.text' }), event({ msgtype: 'm.text', body: '' }), event({ msgtype: 'm.text', body: 7 }),
      event({ body: 'no type' }),
      event({ msgtype: 'm.text', body: 'N\u0000L' }),
      event({ msgtype: 'm.text', body: 'x'.repeat(10001) }),
      event({ msgtype: 'm.text', body: '\ud800' }),
      event({ msgtype: 'm.text', body: 'x' }, { event_id: 'no-event' }),
      event({ msgtype: 'm.text', body: 'x' }, { room_id: 17 }),
      event({ msgtype: 'm.text', body: 'x' }, { sender: 'nobody' }),
      event({ msgtype: 'm.text', body: 'x' }, { sender: '@a b:c' }),
      event({ algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x' }, { type: 'm.room.encrypted' }),
      event({ 'N\u0000L': 1, msgtype: 'm.text', body: 'x' }),
      event({ msgtype: 'm.text', body: 'x', n: JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`) }),
      { ...text(rig, closed, ADA, 'у закритій') },
      rig.homeserver.makeEvent('!elsewhere:fake.test', ADA, { msgtype: 'm.text', body: 'деінде' }),
      null, 7, 'text', [], {},
    ];
    const list = odd.flatMap((entry, i) => [entry, text(rig, room, ADA, `${i}`)]);
    const body = `{"events":${JSON.stringify(list).replace('"x"', '123456789012345678901234567890')}}`;
    await pushed(rig, null, { body });
    assert.deepEqual(await bodies(rig, room), odd.map((_, i) => `${i}`));
    assert.deepEqual(await bodies(rig, closed), []);
    assert.ok(!rig.server.stderr.includes('деінде'));
    assert.ok(await counter(rig, 'daarion_matrix_pushed_events_total{what="encrypted"}') >= 1);
    assert.ok(await counter(rig, 'daarion_city_matrix_events_total{outcome="elsewhere"}') >= 1);
    assert.ok(await counter(rig, 'daarion_city_matrix_events_total{outcome="left_out"}') >= 2);
  });

  test('a full transaction of long messages is taken whole and in order', async () => {
    const room = await newRoom(rig, person(rig));
    const said = Array.from({ length: 100 }, (_, i) => `${i} ${'є'.repeat(9000)}`);
    const body = JSON.stringify({ events: said.map((line) => text(rig, room, ADA, line)) })
      .replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
    assert.ok(body.length > 5_000_000);
    await pushed(rig, null, { body });
    assert.deepEqual(await bodies(rig, room), said);
  });

  test('a message that comes before the homeserver has answered us is taken', async () => {
    const room = await newRoom(rig, person(rig));
    await rig.server.stop();
    rig.homeserver.mode = 'hang';
    await rig.server.start();
    rig.internal = new Client(rig.server.internalUrl);
    rig.api = new Client(rig.server.publicUrl);
    await pushFirst(rig);
    await pushed(rig, [text(rig, room, `@early:${SERVER_NAME}`, 'я тут')]);
    assert.deepEqual((await rig.api.history(room.slug)).map(({ username, body }) => [username, body]), [['early', 'я тут']]);
  });

  test('only the homeserver may push', async () => {
    const room = await newRoom(rig, person(rig));
    const events = [text(rig, room, ADA, 'чужинець')];
    for (const token of ['', 'wrong', AS_TOKEN, `${HS_TOKEN}x`, HS_TOKEN.slice(0, -1)]) {
      const response = await push(rig, events, { token });
      assert.equal(response.status, 403);
      assert.equal(response.json.errcode, 'M_FORBIDDEN');
    }
    // Without the token a body is not even read.
    const large = await push(rig, null, { token: 'wrong', body: `{"events":[${' '.repeat(200000)}]}` });
    assert.equal(large.status, 413);
    for (const [method, target, status] of [['GET', `rooms/${encode('#city_x:fake.test')}`, 404],
      ['GET', `users/${encode('@daarion.x:fake.test')}`, 404], ['POST', 'ping', 200]]) {
      const authorized = { headers: { Authorization: `Bearer ${HS_TOKEN}` } };
      assert.equal((await rig.internal.request(method, `/_matrix/app/v1/${target}`, authorized)).status, status);
      assert.equal((await rig.internal.request(method, `/_matrix/app/v1/${target}`)).status, 403);
    }
    // Nor is anything of it on the public side.
    const outside = await fetch(`${rig.server.publicUrl}/_matrix/app/v1/transactions/1`, {
      method: 'PUT', headers: { Authorization: `Bearer ${HS_TOKEN}` }, body: JSON.stringify({ events }),
    });
    assert.equal(outside.status, 404);
    for (const body of ['', 'x', '[]', '{"events":[', '{"events":[1 2]}', '{"events":[}']) {
      const response = await push(rig, null, { body });
      assert.equal(response.status, 400, body);
      assert.equal(response.json.errcode, 'M_NOT_JSON');
    }
    for (const body of ['{}', '{"events":[]}', '{"a":{"events":[1]},"events":[]}', '{"events":7}']) {
      await pushed(rig, null, { body });
    }
    assert.deepEqual(await bodies(rig, room), []);
  });

  test('the city takes events from its gateway alone', async () => {
    const room = await newRoom(rig, person(rig));
    const events = [{ event_id: '$direct', matrix_room_id: room.matrix_room_id, user_id: ADA, username: 'Ада', body: 'x' },
      { event_id: '$direct' }, 7];
    assertError(await rig.internal.post('/internal/city/matrix/events', { events }), 401, 'unauthorized');
    const taken = await rig.internal.ok('POST', '/internal/city/matrix/events', { events }, { headers: internalHeaders });
    assert.deepEqual(taken, { stored: 1, known: 0, left_out: 2 });
    assertError(await rig.internal.post('/internal/city/matrix/events', { events: 7 }, { headers: internalHeaders }),
      422, 'invalid_input', 'events');
    assertError(await rig.internal.request('POST', '/internal/city/matrix/events', { headers: internalHeaders, body: '{' }),
      400, 'invalid_json');
  });

  test('the way back is shown, and is asked for until it works', async () => {
    const health = await rig.internal.ok('GET', '/healthz');
    assert.equal(health.chat_to_matrix, 'on');
    assert.ok(['ok', 'unknown'].includes(health.chat_from_matrix));
    rig.homeserver.answer(/ping/, [502, { errcode: 'M_CONNECTION_FAILED', error: 'refused' }], 1000);
    const until = async (word, toMatrix = 'on') => {
      for (;;) {
        const now = (await rig.internal.get('/healthz')).json;
        if (now.chat_from_matrix === word && now.chat_to_matrix === toMatrix) {
          return now;
        }
      }
    };
    assert.match((await until('unreached')).checks.matrix.detail, /does not reach/);
    rig.homeserver.script.length = 0;
    assert.equal((await until('ok')).checks.matrix.status, 'ok');
    // Of a homeserver that is away nobody knows; of one that refuses our token, what it takes from us.
    rig.homeserver.mode = 'error500';
    assert.equal((await until('unknown', 'unavailable')).synapse, 'error');
    rig.homeserver.mode = 'ok';
    await until('ok');
    rig.homeserver.answer(/whoami/, [401, { errcode: 'M_UNKNOWN_TOKEN', error: 'x' }], 1000);
    assert.equal((await until('ok', 'refused')).application_service, 'refused');
    rig.homeserver.script.length = 0;
    await until('ok');
    // A ping that the homeserver does not know says nothing against a way that has been seen to work.
    rig.homeserver.answer(/ping/, [404, { errcode: 'M_UNRECOGNIZED', error: 'x' }], 1000);
    const pings = rig.homeserver.asked(/ping/).length;
    await rig.homeserver.waitFor(/ping/, pings + 3);
    assert.equal((await rig.internal.ok('GET', '/healthz')).chat_from_matrix, 'ok');
  });
});

describe('to Matrix', () => {
  const rig = useChat();

  test('what is said over HTTP and sockets is said there by its author, once, in order', async (t) => {
    const [olenka, taras] = [person(rig, 'Оленка'), person(rig, 'Тарас')];
    const room = await newRoom(rig, olenka);
    const socket = await openRoom(rig.server, room.slug, taras);
    closing(t, socket);
    const first = await olenka.api.say(room.slug, 'перше', 'key-1');
    socket.send({ event: 'room.message.send', room_id: room.id, body: 'друге' });
    await socket.nextFrame((f) => f.event === 'room.message' && f.message.body === 'друге');
    await olenka.api.say(room.slug, 'перше', 'key-1'); // the same again
    await olenka.api.say(room.slug, 'третє');
    const said = await untilSaid(rig, room, 3);
    assert.deepEqual(said.map(([, body]) => body), ['перше', 'друге', 'третє']);
    assert.equal(said[0][0], said[2][0]);
    assert.notEqual(said[0][0], said[1][0]);
    assert.deepEqual([said[0][0], said[1][0]].map((id) => rig.homeserver.users.get(id).displayname), ['Оленка', 'Тарас']);
    const [event] = rig.homeserver.events.get(room.matrix_room_id);
    assert.equal(event.content.msgtype, 'm.text');
    assert.equal(event.content['city.daarion.message_id'], first.id);
    // It comes back, as everything does that is said in the room.
    await pushed(rig, rig.homeserver.events.get(room.matrix_room_id));
    await pushed(rig, rig.homeserver.events.get(room.matrix_room_id));
    assert.deepEqual(await bodies(rig, room), ['перше', 'друге', 'третє']);
    await untilCounter(rig, 'daarion_city_matrix_waiting', (value) => value === 0);
    assert.equal(rig.homeserver.said(room.matrix_room_id).length, 3);
  });

  test('an event that only says that it is ours is what somebody said', async () => {
    const [author, other] = [person(rig), person(rig)];
    const [room, elsewhere] = [await newRoom(rig, author), await newRoom(rig, author)];
    const ours = await author.api.say(room.slug, 'моє');
    const [[authorId]] = await untilSaid(rig, room, 1);
    const boot = await other.api.ok('GET', `/api/city/chat/bootstrap?room_slug=${room.slug}`);
    const key = { 'city.daarion.message_id': ours.id };
    await pushed(rig, rig.homeserver.events.get(room.matrix_room_id)); // the real one
    await pushed(rig, [
      text(rig, room, ADA, 'Ада каже', key),
      text(rig, room, boot.matrix_user_id, 'інший каже', key),
      text(rig, room, authorId, 'знову я', key), // the message is another event already
      text(rig, elsewhere, authorId, 'в іншій', key),
      text(rig, room, authorId, 'вигадка', { 'city.daarion.message_id': 'm_city_nothing' }),
      text(rig, room, authorId, 'дурниця', { 'city.daarion.message_id': { x: 1 } }),
    ]);
    assert.deepEqual(await bodies(rig, room), ['моє', 'Ада каже', 'інший каже', 'знову я', 'вигадка', 'дурниця']);
    assert.deepEqual(await bodies(rig, elsewhere), ['в іншій']);
    assert.equal(rig.homeserver.said(room.matrix_room_id).length, 1);
  });

  for (const mode of ['html502', 'error500', 'badJson', 'html200', 'hang']) {
    test(`a homeserver that answers ${mode} gets it later, in order, once`, async () => {
      const user = person(rig);
      const room = await newRoom(rig, user);
      await user.api.say(room.slug, 'до');
      await untilSaid(rig, room, 1);
      rig.homeserver.mode = mode;
      const failed = await counter(rig, 'daarion_city_matrix_outgoing_total{outcome="failed"}');
      for (let i = 0; i < 5; i += 1) {
        await user.api.say(room.slug, `поки ${i}`);
      }
      await untilCounter(rig, 'daarion_city_matrix_outgoing_total{outcome="failed"}', (value) => value > failed);
      rig.homeserver.mode = 'ok';
      rig.homeserver.release();
      const said = await untilSaid(rig, room, 6);
      assert.deepEqual(said.map(([, body]) => body), ['до', ...[0, 1, 2, 3, 4].map((i) => `поки ${i}`)]);
    });
  }

  test('a homeserver that fails is asked less and less', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    await user.api.say(room.slug, 'до');
    await untilSaid(rig, room, 1);
    const times = (pattern) => rig.homeserver.asked(pattern).length;
    rig.homeserver.answer(/PUT .*m\.room\.message/, [500, { errcode: 'M_UNKNOWN', error: 'x' }], 1_000_000);
    const [sends, checks] = [times(/PUT .*m\.room\.message/), times(/versions/)];
    await user.api.say(room.slug, 'далі');
    await rig.homeserver.waitFor(/versions/, checks + 30); // a look at it each 100 ms
    const tries = times(/PUT .*m\.room\.message/) - sends;
    assert.ok(tries >= 2 && tries < 30, `${tries} tries`);
    rig.homeserver.script.length = 0;
    assert.deepEqual((await untilSaid(rig, room, 2)).map(([, body]) => body), ['до', 'далі']);
  });

  test('a message of which the answer was lost is not said again, also by a homeserver that has forgotten', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    await user.api.say(room.slug, 'перед');
    await untilSaid(rig, room, 1);
    rig.homeserver.answer(/PUT .*m.room.message/, (call) => {
      const event = rig.homeserver.makeEvent(room.matrix_room_id, call.query.get('user_id'), call.body);
      rig.homeserver.events.get(room.matrix_room_id).push(event); // taken, and then the answer fails
      return [502, 'bad gateway'];
    });
    await user.api.say(room.slug, 'загублене');
    await user.api.say(room.slug, 'наступне');
    const said = await untilSaid(rig, room, 3);
    assert.deepEqual(said.map(([, body]) => body), ['перед', 'загублене', 'наступне']);
  });

  test('killed behind the homeserver it neither loses nor repeats', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    await user.api.say(room.slug, 'до');
    await untilSaid(rig, room, 1);
    const sends = () => rig.homeserver.asked(/PUT .*m.room.message/).length;
    const before = sends();
    rig.homeserver.answer(/PUT .*m.room.message/, 'hang');
    await user.api.say(room.slug, 'на межі');
    await user.api.say(room.slug, 'після');
    while (sends() === before) {
      await rig.api.get('/livez');
    }
    await rig.server.kill();
    rig.homeserver.release(); // it goes on with what it was asked
    while (rig.homeserver.said(room.matrix_room_id).length < 2) {
      await new Promise(setImmediate);
    }
    rig.homeserver.transactions.clear(); // and is restarted too
    await rig.server.start();
    const said = await untilSaid(rig, room, 3);
    assert.deepEqual(said.map(([, body]) => body), ['до', 'на межі', 'після']);
    await pushFirst(rig);
    await pushed(rig, rig.homeserver.events.get(room.matrix_room_id));
    assert.deepEqual(await bodies(rig, room), ['до', 'на межі', 'після']);
  });

  test('rate limits are waited for, refusals are not', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    const limit = [429, { errcode: 'M_LIMIT_EXCEEDED', error: 'x', retry_after_ms: 300 }, { 'Retry-After': '1' }];
    rig.homeserver.answer(/PUT .*m.room.message/, limit, 3);
    await user.api.say(room.slug, 'зажди');
    await untilSaid(rig, room, 1);
    const refused = await counter(rig, 'daarion_city_matrix_outgoing_total{outcome="refused"}') || 0;
    rig.homeserver.answer(/PUT .*m.room.message/, [413, { errcode: 'M_TOO_LARGE', error: 'x' }]);
    await user.api.say(room.slug, 'завелике');
    rig.homeserver.answer(/PUT .*m.room.message/, [400, { errcode: 'M_BAD_JSON', error: 'x' }]);
    await user.api.say(room.slug, 'негоже');
    await user.api.say(room.slug, 'добре');
    assert.deepEqual((await untilSaid(rig, room, 2)).map(([, body]) => body), ['зажди', 'добре']);
    const banned = person(rig);
    await banned.api.say(room.slug, 'ще можна');
    const [id] = (await untilSaid(rig, room, 3))[2];
    rig.homeserver.rooms.get(room.matrix_room_id).members.delete(id);
    rig.homeserver.rooms.get(room.matrix_room_id).banned = new Set([id]);
    await banned.api.say(room.slug, 'вже ні');
    await user.api.say(room.slug, 'далі');
    assert.deepEqual((await untilSaid(rig, room, 4)).map(([, body]) => body), ['зажди', 'добре', 'ще можна', 'далі']);
    assert.equal(await counter(rig, 'daarion_city_matrix_outgoing_total{outcome="refused"}'), refused + 3);
    assert.equal((await bodies(rig, room)).length, 7); // the city has them all
  });

  test('an account that the homeserver has lost is made again', async () => {
    const user = person(rig, 'Вернись');
    const room = await newRoom(rig, user);
    await user.api.say(room.slug, 'раз');
    const [[id]] = await untilSaid(rig, room, 1);
    rig.homeserver.users.delete(id);
    rig.homeserver.rooms.get(room.matrix_room_id).members.delete(id);
    await user.api.say(room.slug, 'два');
    assert.equal((await untilSaid(rig, room, 2))[1][0], id);
    assert.equal(rig.homeserver.users.get(id).displayname, 'Вернись');
  });

  test('two hundred messages of five people in two rooms keep their order, in both directions', async () => {
    const people = Array.from({ length: 5 }, (_, i) => person(rig, `Людина ${i}`));
    const pair = [await newRoom(rig, people[0]), await newRoom(rig, people[0])];
    const work = people.map(async (user, who) => {
      for (let i = 0; i < 20; i += 1) {
        for (const room of pair) {
          await user.api.say(room.slug, `${who}:${i}`);
        }
      }
    });
    const incoming = (async () => {
      for (let i = 0; i < 20; i += 1) {
        await pushed(rig, pair.flatMap((room) => [0, 1, 2, 3, 4].map((k) => text(rig, room, ADA, `ада ${i * 5 + k}`))));
      }
    })();
    await Promise.all([...work, incoming]);
    for (const room of pair) {
      const said = await untilSaid(rig, room, 100);
      const history = await rig.api.history(room.slug);
      assert.equal(history.length, 200);
      assert.deepEqual(said.map(([, body]) => body),
        history.filter((message) => message.author_user_id !== ADA).map((message) => message.body));
      assert.deepEqual(history.filter((message) => message.author_user_id === ADA).map((message) => message.body),
        Array.from({ length: 100 }, (_, i) => `ада ${i}`));
      assert.equal(said.length, 100);
    }
  });

  test('what the gateway is asked for is checked', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    const target = `/internal/matrix/rooms/${encode(room.matrix_room_id)}/send`;
    const say = (json) => rig.internal.post(target, json, { headers: internalHeaders });
    const good = { user_id: user.id, username: 'Я', body: 'прямо', txn_id: 'm_city_DIRECT' };
    const sent = await say(good);
    assert.equal(sent.status, 200, sent.text);
    assert.deepEqual((await say({ ...good, is_unsure: true })).json, sent.json);
    rig.homeserver.transactions.clear();
    assert.deepEqual((await say({ ...good, is_unsure: true })).json, sent.json);
    assert.equal(rig.homeserver.said(room.matrix_room_id).length, 1);
    assertError(await rig.internal.post(target, good), 401, 'unauthorized');
    assertError(await say({ ...good, body: '' }), 422, 'invalid_input', 'body');
    assertError(await say({ ...good, txn_id: undefined }), 422, 'invalid_input', 'txn_id');
    assertError(await rig.internal.post('/internal/matrix/rooms/nothing/send', good, { headers: internalHeaders }),
      422, 'invalid_input', 'room_id');
    assertError(await rig.internal.post(`/internal/matrix/rooms/${encode('!none:fake.test')}/send`, good,
      { headers: internalHeaders }), 404, 'matrix_room_gone');
  });

  test('a Matrix room that was deleted is made again, and hears what was said; other rooms do not notice', async () => {
    const user = person(rig);
    const [room, other] = [await newRoom(rig, user), await newRoom(rig, user)];
    await user.api.say(room.slug, 'до');
    await untilSaid(rig, room, 1);
    rig.homeserver.rooms.delete(room.matrix_room_id);
    rig.homeserver.aliases.delete(room.matrix_room_alias);
    const waits = () => rig.server.events.filter(({ event }) => event === 'city.matrix_outgoing_waits').length;
    const before = waits();
    // While no new one can be made, only this room waits.
    rig.homeserver.answer(/createRoom/, [500, { errcode: 'M_UNKNOWN', error: 'x' }], 1_000_000);
    await user.api.say(room.slug, 'у порожнечу');
    const gone = await rig.server.waitForEvent(({ event }) => event === 'city.matrix_room_gone');
    assert.deepEqual([gone.room, gone.matrix_room_id], [room.slug, room.matrix_room_id]);
    for (let i = 0; i < 5; i += 1) {
      await user.api.say(other.slug, `поруч ${i}`);
      await untilSaid(rig, other, i + 1);
    }
    assert.equal(waits(), before);
    assert.equal((await rig.internal.ok('GET', '/healthz')).checks.matrix_chat.status, 'ok');
    rig.homeserver.script.length = 0;
    const moved = await rig.server.waitForEvent((event) => event.event === 'city.matrix_room_moved' && event.room === room.slug);
    assert.equal(moved.from, room.matrix_room_id);
    const now = await user.api.ok('GET', `/api/city/rooms/${room.slug}`);
    assert.equal(now.matrix_room_id, rig.homeserver.aliases.get(room.matrix_room_alias));
    assert.notEqual(now.matrix_room_id, room.matrix_room_id);
    assert.deepEqual((await untilSaid(rig, now, 1)).map(([, body]) => body), ['у порожнечу']);
    await user.api.say(room.slug, 'далі');
    assert.deepEqual((await untilSaid(rig, now, 2)).map(([, body]) => body), ['у порожнечу', 'далі']);
  });
});

describe('with an administrator alone', () => {
  const rig = useChat({ MATRIX_AS_TOKEN: '', MATRIX_HS_TOKEN: '', SYNAPSE_ADMIN_TOKEN: ADMIN_TOKEN });

  test('chat is not bridged, and that is said', async () => {
    const user = person(rig);
    const room = await newRoom(rig, user);
    const warning = await rig.server.waitForEvent((event) => event.event === 'matrix.chat_not_bridged');
    assert.equal(warning.level, 'warn');
    const health = await rig.internal.ok('GET', '/healthz');
    assert.equal(health.chat_to_matrix, 'off');
    assert.equal(health.chat_from_matrix, 'off');
    for (let i = 0; i < 5; i += 1) {
      await user.api.say(room.slug, `місту ${i}`);
    }
    await rig.server.waitForEvent((event) => event.event === 'city.chat_not_bridged');
    assert.equal((await push(rig, [], { token: '' })).status, 403);
    assertError(await rig.internal.post(`/internal/matrix/rooms/${encode(room.matrix_room_id)}/send`,
      { user_id: user.id, body: 'x', txn_id: 'y' }, { headers: internalHeaders }), 503, 'chat_not_bridged');
    assert.deepEqual(rig.homeserver.said(room.matrix_room_id), []);
    // Once there is a service, it begins with what is said then.
    rig.server.env.MATRIX_AS_TOKEN = AS_TOKEN;
    await rig.server.stop();
    await rig.server.start();
    rig.homeserver.rooms.get(room.matrix_room_id).members.add(SENDER);
    await user.api.say(room.slug, 'усім');
    assert.deepEqual((await untilSaid(rig, room, 1)).map(([, body]) => body), ['усім']);
  });
});

describe('a city without a homeserver', () => {
  test('owes nothing to Matrix', async (t) => {
    const server = await startServer();
    t.after(() => server.remove());
    const rig = { server, api: new Client(server.publicUrl), internal: new Client(server.internalUrl) };
    const user = person(rig);
    await user.api.say('general', 'самі');
    const presence = await openPresence(server, user);
    closing(t, presence);
    const metrics = await rig.internal.get('/metrics');
    assert.doesNotMatch(metrics.text, /daarion_city_matrix_outgoing/);
    assert.equal((await rig.internal.request('PUT', '/_matrix/app/v1/transactions/1')).status, 404);
  });
});
