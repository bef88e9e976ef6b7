// Residents in the city and people in Matrix clients talk with each other: the real binary, a real Synapse, and
// matrix-js-sdk as the Matrix client. Synapse has the settings that `daarion matrix-config` writes.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import {
  after, afterEach, before, describe, test,
} from 'node:test';
import { closing, person } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { openRoom } from '../e2e/support/sockets.mjs';
import { Gate } from './support/gate.mjs';
import { Gateway } from './support/gateway.mjs';
import {
  closeMatrixClients, openMatrixClient, untilHeard, untilHears,
} from './support/matrix-client.mjs';
import { Push } from './support/push.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const encode = encodeURIComponent;
const rig = {};
let people = 0;
let rooms = 0;

before(async () => {
  rig.push = await new Push().listen();
  // The Matrix clients of these tests say more in a second than people do.
  rig.synapse = await Synapse.start('rc_message: {per_second: 1000, burst_count: 1000}\n', undefined, rig.push.url);
  rig.gateway = await Gateway.start(rig.synapse, {
    MATRIX_AS_TOKEN: rig.synapse.asToken, MATRIX_HS_TOKEN: rig.synapse.hsToken, MATRIX_TIMEOUT_MS: 10000,
  });
  rig.server = rig.gateway.server;
  rig.push.target = rig.server.internalUrl;
  rig.api = new Client(rig.server.publicUrl);
  rig.internal = new Client(rig.server.internalUrl);
});
afterEach(() => {
  Object.assign(rig.push, { loses: 0, onAgain: null, repeats: false });
});
after(async () => {
  closeMatrixClients();
  await rig.gateway?.remove();
  await rig.synapse?.remove();
  await rig.push?.close();
});

/** Somebody with a Matrix client and no account in the city. */
async function matrixPerson(name) {
  const { nonce } = await rig.synapse.ok('GET', '/_synapse/admin/v1/register');
  people += 1;
  const localpart = `${name.toLowerCase()}-${people}`;
  const password = 'a-password-of-tests';
  const mac = createHmac('sha1', rig.synapse.registrationSecret)
    .update([nonce, localpart, password, 'notadmin'].join('\0')).digest('hex');
  const made = await rig.synapse.ok('POST', '/_synapse/admin/v1/register', {
    json: { nonce, username: localpart, password, admin: false, mac, displayname: name },
  });
  return openMatrixClient(rig.synapse, made.user_id, made.access_token, made.device_id);
}

/** Until the city's room has so many messages (of those that fit). */
function untilStored(room, count, by = () => true) {
  return until(`${count} messages stored`, () => rig.api.history(room.slug), (history) => history.filter(by).length >= count);
}

async function newRoom(user) {
  rooms += 1;
  return user.api.createRoom(`Розмова ${rooms}`, { slug: `talk-${rooms}` });
}

/** A room of the city, a resident in it, and somebody who has joined it with a Matrix client. */
async function talk(name = 'Ada') {
  const user = person(rig, 'Оленка');
  const room = await newRoom(user);
  const ada = await matrixPerson(name);
  await ada.joinRoom(room.matrix_room_alias);
  return { user, room, ada };
}

const said = (history) => history.map((message) => message.body);

/** What Synapse has in the room, oldest first: [sender, body]. */
async function timeline(room) {
  const events = [];
  let from = '';
  for (;;) {
    const page = await rig.synapse.ok('GET', `/_synapse/admin/v1/rooms/${encode(room.matrix_room_id)}/messages?dir=b&limit=500${from}`,
      { token: rig.synapse.adminToken });
    events.unshift(...page.chunk.reverse());
    if (!page.end || page.chunk.length === 0) {
      return events.filter((event) => event.type === 'm.room.message').map((event) => [event.sender, event.content.body]);
    }
    from = `&from=${encode(page.end)}`;
  }
}

/** Until Synapse has so many messages in the room (of those that fit). */
function untilSaid(room, count, by = () => true) {
  return until(`${count} messages in Synapse`, () => timeline(room), (events) => events.filter(by).length >= count);
}

describe('a conversation', () => {
  test('of a browser and a Matrix client: each word once on both sides, with its author', async (t) => {
    const { user, room, ada } = await talk();
    const socket = await openRoom(rig.server, room.slug, user);
    closing(t, socket);
    await ada.sendTextMessage(room.matrix_room_id, 'Hello, city');
    const frame = await socket.nextFrame((f) => f.event === 'room.message');
    assert.equal(frame.message.body, 'Hello, city');
    assert.equal(frame.message.author_user_id, ada.getUserId());
    assert.equal(frame.message.username, 'Ada');
    socket.send({ event: 'room.message.send', room_id: room.id, body: 'Вітаю, Ado' });
    await user.api.say(room.slug, 'і ще раз');
    await ada.sendEmoteMessage(room.matrix_room_id, 'waves');
    const heard = await untilHeard(ada, room, 4);
    const history = await untilStored(room, 4);
    const olenka = heard.find(([, body]) => body === 'і ще раз')[0];
    assert.match(olenka, /^@daarion\./);
    assert.deepEqual(heard.filter(([sender]) => sender === olenka).map(([, body]) => body).sort(),
      ['Вітаю, Ado', 'і ще раз'].sort());
    assert.equal(ada.getRoom(room.matrix_room_id).getMember(olenka).name, 'Оленка');
    assert.equal(history.filter((m) => m.author_user_id === user.id).length, 2);
    assert.deepEqual(said(history.filter((m) => m.author_user_id === ada.getUserId())), ['Hello, city', '* waves']);
    // Everything has come back by now; nothing has gone round.
    await ada.sendTextMessage(room.matrix_room_id, 'end');
    assert.equal((await untilStored(room, 5)).length, 5);
    assert.equal((await timeline(room)).length, 5);
    assert.equal(socket.frames.filter((f) => f.frame.event === 'room.message').length, 5);
  });

  test('of a resident who is in a Matrix client himself', async () => {
    const { user, room, ada } = await talk();
    const boot = await user.api.ok('GET', `/api/city/chat/bootstrap?room_slug=${room.slug}`);
    rig.gateway.tokens.push(boot.matrix_access_token);
    const self = await openMatrixClient(rig.synapse, boot.matrix_user_id, boot.matrix_access_token, boot.matrix_device_id);
    await self.joinRoom(room.matrix_room_id);
    await self.sendTextMessage(room.matrix_room_id, 'з телефона');
    await untilStored(room, 1);
    await user.api.say(room.slug, 'з браузера');
    await untilHeard(ada, room, 2);
    await ada.sendTextMessage(room.matrix_room_id, 'чую обох');
    const history = await untilStored(room, 3);
    assert.deepEqual(said(history), ['з телефона', 'з браузера', 'чую обох']);
    assert.equal(history[0].author_user_id, user.id);
    assert.equal(history[0].username, 'Оленка');
    assert.equal(history[1].author_user_id, user.id);
    assert.deepEqual((await untilHeard(ada, room, 3)).map(([sender]) => sender),
      [boot.matrix_user_id, boot.matrix_user_id, ada.getUserId()]);
  });

  test('a name that changes is the new one from then on', async () => {
    const { room, ada } = await talk('Bob');
    await ada.sendTextMessage(room.matrix_room_id, 'перше');
    await untilStored(room, 1);
    await ada.setDisplayName('Robert');
    await ada.sendTextMessage(room.matrix_room_id, 'друге');
    assert.deepEqual((await untilStored(room, 2)).map((message) => message.username), ['Bob', 'Robert']);
  });

  test('what is edited is said once more, what is redacted stays as it was heard', async () => {
    const { room, ada } = await talk();
    const { event_id: first } = await ada.sendTextMessage(room.matrix_room_id, 'помилка');
    await untilStored(room, 1);
    await ada.sendMessage(room.matrix_room_id, {
      msgtype: 'm.text', body: '* виправлено', 'm.new_content': { msgtype: 'm.text', body: 'виправлено' },
      'm.relates_to': { rel_type: 'm.replace', event_id: first },
    });
    await ada.redactEvent(room.matrix_room_id, first);
    await ada.sendTextMessage(room.matrix_room_id, 'кінець');
    assert.deepEqual(said(await untilStored(room, 3)), ['помилка', '* виправлено', 'кінець']);
  });

  test('elsewhere, of a resident with a friend, is nobody\'s concern', async () => {
    const { user, room, ada } = await talk();
    const boot = await user.api.ok('GET', `/api/city/chat/bootstrap?room_slug=${room.slug}`);
    rig.gateway.tokens.push(boot.matrix_access_token);
    const self = await openMatrixClient(rig.synapse, boot.matrix_user_id, boot.matrix_access_token, boot.matrix_device_id);
    const { room_id: secret } = await ada.createRoom({ invite: [self.getUserId()], preset: 'trusted_private_chat' });
    await self.joinRoom(secret);
    await ada.sendTextMessage(secret, 'таємниця-1');
    await self.sendTextMessage(secret, 'таємниця-2');
    await self.joinRoom(room.matrix_room_id);
    await self.sendTextMessage(room.matrix_room_id, 'вголос');
    assert.deepEqual(said(await untilStored(room, 1)), ['вголос']);
    assert.ok(!rig.server.stderr.includes('таємниця'));
  });
});

describe('each once', () => {
  test('when Synapse repeats what it has pushed', async () => {
    const { user, room, ada } = await talk();
    rig.push.repeats = true;
    rig.push.loses = 2;
    const before = rig.push.transactions.length;
    for (let i = 0; i < 5; i += 1) {
      await ada.sendTextMessage(room.matrix_room_id, `раз ${i}`);
      await user.api.say(room.slug, `два ${i}`);
    }
    await untilHeard(ada, room, 10);
    await untilStored(room, 10);
    await ada.sendTextMessage(room.matrix_room_id, 'кінець');
    const history = await untilStored(room, 11);
    assert.ok(rig.push.transactions.length - before > 2);
    assert.deepEqual(said(history).sort(), [...[0, 1, 2, 3, 4].flatMap((i) => [`раз ${i}`, `два ${i}`]), 'кінець'].sort());
    assert.deepEqual(said(history).filter((body) => body.startsWith('раз')), [0, 1, 2, 3, 4].map((i) => `раз ${i}`));
    assert.equal((await timeline(room)).length, 11);
  });

  test('when the city is killed in the middle, again and again', async () => {
    const { user, room, ada } = await talk();
    await user.api.say(room.slug, 'перед');
    await untilHeard(ada, room, 1);
    const sent = { city: ['перед'], matrix: [] };
    const chatter = (async () => {
      for (let i = 0; i < 40; i += 1) {
        await ada.sendTextMessage(room.matrix_room_id, `з Matrix ${i}`);
        sent.matrix.push(`з Matrix ${i}`);
      }
    })();
    for (let round = 0; round < 4; round += 1) {
      const talking = (async () => {
        for (let i = 0; i < 10; i += 1) {
          const body = `з міста ${round}:${i}`;
          await user.api.say(room.slug, body, `key-${round}-${i}`);
          sent.city.push(body);
        }
      })().catch(() => {}); // what is not acknowledged may be there all the same
      await untilStored(room, round * 10 + 3);
      await rig.server.kill();
      await talking;
      await rig.server.start();
      rig.push.target = rig.server.internalUrl;
      rig.api = new Client(rig.server.publicUrl);
      user.api = rig.api.as(user);
    }
    await chatter;
    await ada.sendTextMessage(room.matrix_room_id, 'кінець');
    const byAda = (message) => message.author_user_id === ada.getUserId();
    const history = await untilStored(room, 41, byAda);
    const fromCity = said(history.filter((message) => !byAda(message)));
    const byResident = ([sender]) => sender !== ada.getUserId();
    const events = await untilSaid(room, fromCity.length, byResident);
    assert.deepEqual(said(history.filter(byAda)), [...sent.matrix, 'кінець']);
    assert.deepEqual(events.filter(byResident).map(([, body]) => body), fromCity);
    assert.equal(new Set(fromCity).size, fromCity.length);
    for (const body of sent.city) { // acknowledged
      assert.ok(fromCity.includes(body), body);
    }
  });

  test('in order, when people speak in the moment in which Synapse has caught up', async (t) => {
    const { room, ada } = await talk();
    const speakers = [ada, await matrixPerson('Bob'), await matrixPerson('Cleo')];
    await Promise.all(speakers.slice(1).map((client) => client.joinRoom(room.matrix_room_id)));
    const rounds = 12;
    const each = 5;
    for (let round = 0; round < rounds; round += 1) {
      rig.push.loses = 1; // it has to repeat, and stores what is said meanwhile
      await Promise.all(speakers.map(async (client, who) => {
        for (let i = 0; i < each; i += 1) {
          await client.sendTextMessage(room.matrix_room_id, `${who}:${round * each + i}`);
        }
      }));
    }
    await ada.sendTextMessage(room.matrix_room_id, 'кінець');
    const bodies = said(await untilStored(room, speakers.length * rounds * each + 1));
    assert.deepEqual(bodies, (await timeline(room)).map(([, body]) => body));
    const metrics = await rig.internal.get('/metrics');
    t.diagnostic(metrics.text.match(/^daarion_matrix_transactions_total.*ahead.*$/m)[0]);
  });

  test('when Synapse is restarted while the city is away, and nobody speaks afterwards', async () => {
    const { room, ada } = await talk();
    await ada.sendTextMessage(room.matrix_room_id, 'до');
    await untilStored(room, 1);
    await rig.server.kill();
    await ada.sendTextMessage(room.matrix_room_id, 'поки нікого');
    await rig.synapse.control('restart');
    await rig.server.start();
    rig.push.target = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    assert.deepEqual(said(await untilStored(room, 2)), ['до', 'поки нікого']);
  });

  test('when Synapse has left it behind, and nobody speaks afterwards', async () => {
    const { room, ada } = await talk();
    await ada.sendTextMessage(room.matrix_room_id, 'до');
    await untilStored(room, 1);
    await rig.server.kill();
    await ada.sendTextMessage(room.matrix_room_id, 'забуте 1');
    await ada.sendTextMessage(room.matrix_room_id, 'забуте 2');
    assert.ok(await rig.synapse.restartLeavingBehind() >= 2);
    await rig.server.start();
    rig.push.target = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    assert.deepEqual(said(await untilStored(room, 3)), ['до', 'забуте 1', 'забуте 2']);
    await ada.sendTextMessage(room.matrix_room_id, 'після');
    assert.equal(said(await untilStored(room, 4)).at(-1), 'після');
  });

  test('when Synapse is stopped meanwhile: it hears later, in order', async () => {
    const { user, room, ada } = await talk();
    await user.api.say(room.slug, 'перед');
    await untilHeard(ada, room, 1);
    await rig.synapse.control('stop');
    const bodies = Array.from({ length: 12 }, (_, i) => `під час ${i}`);
    for (const body of bodies) {
      await user.api.say(room.slug, body);
    }
    await rig.server.waitForEvent((event) => event.event === 'city.matrix_outgoing_waits');
    await rig.synapse.control('start');
    await user.api.say(room.slug, 'після');
    assert.deepEqual((await untilSaid(room, 14)).map(([, body]) => body), ['перед', ...bodies, 'після']);
    await untilHears(ada, room, 'після'); // a client that was away may get the newest ten alone
    await ada.sendTextMessage(room.matrix_room_id, 'чую');
    assert.deepEqual(said(await untilStored(room, 15)), ['перед', ...bodies, 'після', 'чую']);
  });

  test('when the city is killed while it makes an account: some seconds later chat goes on', async (t) => {
    const gate = await new Gate(rig.synapse.url).listen();
    t.after(() => gate.close());
    await rig.server.stop();
    await rig.server.start({ SYNAPSE_URL: gate.url });
    rig.push.target = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    const { user, room, ada } = await talk();
    gate.holds = /^POST [^?]*\/register/;
    await user.api.say(room.slug, 'перші слова');
    await gate.untilHeld(1);
    // It is at work: its claim is renewed, and would be for as long as the homeserver takes.
    await rig.server.waitForEvent((event) => event.event === 'matrix.claim_renewed' && !event.is_lost);
    await rig.server.kill();
    gate.holds = null;
    await rig.server.start();
    const from = performance.now();
    rig.push.target = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    await untilHears(ada, room, 'перші слова');
    const waited = performance.now() - from;
    t.diagnostic(`${Math.round(waited)} ms after it was there again`);
    assert.ok(waited < 15_000, `${waited} ms`); // the claim is over 5 s after its last renewal
    assert.equal((await timeline(room)).length, 1);
  });

  test('when Synapse hangs, and both are killed after it has taken a message', async () => {
    const { user, room, ada } = await talk();
    await user.api.say(room.slug, 'перед');
    await untilHeard(ada, room, 1);
    await rig.synapse.control('pause');
    await user.api.say(room.slug, 'на межі');
    await user.api.say(room.slug, 'за межею');
    await rig.server.kill();
    await rig.synapse.control('resume'); // it takes what it was asked, if it was
    await rig.synapse.control('restart'); // and forgets its transactions
    await rig.server.start();
    rig.push.target = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    assert.deepEqual((await untilSaid(room, 3)).map(([, body]) => body), ['перед', 'на межі', 'за межею']);
    await untilHears(ada, room, 'за межею');
    await ada.sendTextMessage(room.matrix_room_id, 'кінець');
    assert.deepEqual(said(await untilStored(room, 4)), ['перед', 'на межі', 'за межею', 'кінець']);
    assert.equal((await timeline(room)).length, 4);
  });
});

describe('under load', () => {
  test('two hundred messages of five people each way keep their order', async (t) => {
    const { room, ada } = await talk();
    const people = Array.from({ length: 5 }, (_, i) => person(rig, `Людина ${i}`));
    const others = await Promise.all([0, 1, 2, 3].map((i) => matrixPerson(`Other${i}`)));
    for (const other of others) {
      await other.joinRoom(room.matrix_room_id);
    }
    const speakers = [ada, ...others];
    const socket = await openRoom(rig.server, room.slug, people[0]);
    closing(t, socket);
    const started = performance.now();
    await Promise.all([
      ...people.map(async (user, who) => {
        for (let i = 0; i < 40; i += 1) {
          await user.api.say(room.slug, `місто ${who}:${i}`);
        }
      }),
      ...speakers.map(async (client, who) => {
        for (let i = 0; i < 40; i += 1) {
          await client.sendTextMessage(room.matrix_room_id, `matrix ${who}:${i}`);
        }
      }),
    ]);
    const history = await untilStored(room, 400);
    const events = await untilSaid(room, 400);
    t.diagnostic(`400 messages on both sides after ${Math.round(performance.now() - started)} ms`);
    assert.equal(history.length, 400);
    assert.equal(events.length, 400);
    const isCity = (body) => body.startsWith('місто');
    assert.deepEqual(events.map(([, body]) => body).filter(isCity), said(history).filter(isCity));
    assert.deepEqual(said(history).filter((body) => !isCity(body)),
      events.map(([, body]) => body).filter((body) => !isCity(body)));
    while (socket.all('RoomMessage').length < 400) {
      await socket.barrier();
    }
    assert.deepEqual(socket.all('RoomMessage').map((frame) => frame.message.body), said(history));
    const metrics = await rig.internal.get('/metrics');
    assert.match(metrics.text, /daarion_city_matrix_events_total\{outcome="left_out"\} 0/);
  });

  test('the way there and back is quick when nobody else speaks', async (t) => {
    const { user, room, ada } = await talk();
    const socket = await openRoom(rig.server, room.slug, user);
    closing(t, socket);
    const times = { 'to Matrix': [], 'from Matrix': [] };
    for (let i = 0; i < 20; i += 1) {
      let at = performance.now();
      await user.api.say(room.slug, `туди ${i}`);
      await untilHeard(ada, room, 2 * i + 1);
      times['to Matrix'].push(performance.now() - at);
      at = performance.now();
      await ada.sendTextMessage(room.matrix_room_id, `назад ${i}`);
      await socket.nextFrame((f) => f.event === 'room.message' && f.message.body === `назад ${i}`);
      times['from Matrix'].push(performance.now() - at);
    }
    for (const [way, list] of Object.entries(times)) {
      const sorted = list.sort((a, b) => a - b);
      t.diagnostic(`${way}: median ${sorted[10].toFixed(0)} ms, worst ${sorted[19].toFixed(0)} ms`);
    }
  });
});

describe('operators', () => {
  test('see that the way back works; a wrong hs_token gets 403', async (t) => {
    const health = await rig.gateway.untilHealth((h) => h.chat_from_matrix === 'ok');
    assert.equal(health.chat_to_matrix, 'on');
    const response = await fetch(`${rig.server.internalUrl}/_matrix/app/v1/transactions/1`, {
      method: 'PUT', headers: { Authorization: 'Bearer wrong' }, body: '{"events":[]}',
    });
    assert.equal(response.status, 403);
    assert.equal((await response.json()).errcode, 'M_FORBIDDEN');
    const other = await Gateway.start(rig.synapse, { MATRIX_AS_TOKEN: rig.synapse.asToken, MATRIX_HS_TOKEN: 'another' });
    t.after(() => other.remove());
    const { target } = rig.push;
    rig.push.target = other.server.internalUrl;
    const unreached = await other.untilHealth((h) => h.chat_from_matrix === 'unreached');
    rig.push.target = target;
    assert.match(unreached.checks.matrix.detail, /hs_token/);
  });
});
