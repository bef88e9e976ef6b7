// Roles in processes of their own, two of city-service, over PostgreSQL, NATS and Redis: the homeserver's credentials
// are in matrix-gateway alone, and in nothing that any of them says or keeps. And presence goes all the way there, and
// chat both ways.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Nats, Redis } from '../e2e/support/backends.mjs';
import { closing, internalHeaders } from '../e2e/support/city.mjs';
import { createDatabase, dumpTables } from '../e2e/support/database.mjs';
import { Client } from '../e2e/support/http.mjs';
import { runBinary, Server, temporaryDirectory } from '../e2e/support/server.mjs';
import { goOnline } from '../e2e/support/sockets.mjs';
import { makeUser } from '../e2e/support/tokens.mjs';
import { Gate } from './support/gate.mjs';
import { Push } from './support/push.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const skip = process.env.TEST_DATABASE_URL ? false : 'needs PostgreSQL: script/with-postgres npm test';
const encode = encodeURIComponent;
const rig = { owned: [], roles: {}, answers: [] };

async function startRole(name, env, as = name) {
  const server = new Server({ ...rig.env, LOG_LEVEL: 'debug', ...env }, temporaryDirectory('role'), { args: [name] });
  rig.roles[as] = server;
  return server.start();
}

before(async () => {
  if (skip) {
    return;
  }
  rig.push = await new Push().listen(); // from Synapse to the gateway
  rig.way = await new Gate(null).listen(); // from the gateway to city-service
  rig.synapse = await Synapse.start('', undefined, rig.push.url);
  rig.database = await createDatabase();
  const [nats, redis] = await Promise.all([Nats.open(), Redis.open()]);
  rig.owned.push(nats, redis, rig.database);
  rig.env = {
    DATABASE_URL: rig.database.url, NATS_URL: nats.url, REDIS_URL: redis.url, PRESENCE_CLOSE_GRACE_MS: 300,
  };
  await startRole('matrix-gateway', {
    SYNAPSE_URL: rig.synapse.url,
    MATRIX_SERVER_NAME: rig.synapse.serverName,
    MATRIX_AS_TOKEN: rig.synapse.asToken,
    MATRIX_HS_TOKEN: rig.synapse.hsToken,
    CITY_SERVICE_INTERNAL_URL: rig.way.url,
    SYNAPSE_ADMIN_TOKEN: rig.synapse.adminToken,
    SYNAPSE_REGISTRATION_SECRET: rig.synapse.registrationSecret,
    MATRIX_TIMEOUT_MS: 3000,
    MATRIX_CHECK_INTERVAL_MS: 200,
  });
  rig.env.MATRIX_GATEWAY_URL = rig.roles['matrix-gateway'].publicUrl;
  await startRole('matrix-presence-aggregator', { MATRIX_TIMEOUT_MS: 3000 });
  const city = { MATRIX_TIMEOUT_MS: 3000, MATRIX_PUBLIC_URL: rig.synapse.url };
  await startRole('city-service', city);
  await startRole('city-service', city, 'city-service 2');
  await startRole('auth-service', {});
  for (const replica of ['city-service', 'city-service 2']) {
    await rig.roles[replica].waitForEvent(({ event }) => event === 'city.ready');
  }
  rig.push.target = rig.roles['matrix-gateway'].publicUrl;
  rig.way.target = rig.roles['city-service'].internalUrl;
  rig.secrets = {
    as_token: rig.synapse.asToken, hs_token: rig.synapse.hsToken, admin_token: rig.synapse.adminToken,
    registration_secret: rig.synapse.registrationSecret,
  };
});
after(async () => {
  for (const server of Object.values(rig.roles).reverse()) {
    await server.remove();
  }
  for (const thing of rig.owned) {
    await thing.remove();
  }
  await rig.synapse?.remove();
  await rig.push?.close();
  await rig.way?.close();
});

/** A request whose answer, head and body, is looked through at the end. */
async function ask(role, method, target, options = {}, inside = false) {
  const server = rig.roles[role];
  const client = new Client(inside ? server.internalUrl : server.publicUrl);
  const response = await client.request(method, target, options);
  rig.answers.push(`${role} ${method} ${target}: ${JSON.stringify(response.headers)} ${response.text}`);
  return response;
}

const gateway = (method, target, json) => ask('matrix-gateway', method, `/internal/matrix/${target}`, { json, headers: internalHeaders });

/** Everything that the roles do with the homeserver, and everything that can go wrong on the way. */
test('the city works with the gateway as the one that knows', { skip }, async (t) => {
  const user = makeUser('Оленка');
  const made = await ask('city-service', 'POST', '/city/rooms', { json: { name: 'Plaza', slug: 'plaza' }, token: user.token });
  assert.equal(made.status, 200, made.text);
  assert.match(made.json.matrix_room_id, /^!/);
  const session = await new Client(rig.roles['city-service'].publicUrl).as(user).ok('GET', '/city/chat/bootstrap?room_slug=plaza');
  rig.residentToken = session.matrix_access_token;
  for (const token of [session.matrix_access_token, rig.synapse.adminToken]) {
    await rig.synapse.ok('POST', `/_matrix/client/v3/join/${encode(session.matrix_room_alias)}`, { token, json: {} });
  }
  const seen = async () => (await rig.synapse.ok('GET',
    `/_matrix/client/v3/presence/${encode(session.matrix_user_id)}/status`, { token: rig.synapse.adminToken })).presence;
  const socket = await goOnline(rig.roles['city-service'], user);
  closing(t, socket);
  for (const [act, presence] of [
    [() => {}, 'online'],
    [() => socket.send({ event: 'presence.heartbeat', status: 'away' }), 'unavailable'],
    [() => socket.close(), 'offline'],
  ]) {
    await act();
    await until(presence, seen, (word) => word === presence);
  }
  const filled = await ask('city-service', 'POST', '/internal/city/matrix/backfill', { headers: internalHeaders }, true);
  assert.equal(filled.json.failed, 0, filled.text);
});

/** What has been said in a Matrix room, oldest first: [sender, body]. */
async function timeline(roomId) {
  const { chunk } = await rig.synapse.ok('GET', `/_matrix/client/v3/rooms/${encode(roomId)}/messages?dir=b&limit=100`,
    { token: rig.synapse.adminToken });
  return chunk.reverse().filter(({ type }) => type === 'm.room.message').map(({ sender, content }) => [sender, content.body]);
}

test('what is said at either replica, or in Matrix, is heard once everywhere, also when the one that sends is killed', { skip }, async (t) => {
  const replicas = ['city-service', 'city-service 2'];
  const api = (replica, user) => new Client(rig.roles[replica].publicUrl).as(user);
  const [olenka, taras] = [makeUser('Оленка'), makeUser('Тарас')];
  const room = await api(replicas[0], olenka).ok('POST', '/city/rooms', { name: 'Ринок', slug: 'market' });
  await rig.synapse.ok('POST', `/_matrix/client/v3/join/${encode(room.matrix_room_alias)}`, { token: rig.synapse.adminToken, json: {} });
  const inMatrix = (body) => rig.synapse.ok('PUT',
    `/_matrix/client/v3/rooms/${encode(room.matrix_room_id)}/send/m.room.message/${encode(body)}`,
    { token: rig.synapse.adminToken, json: { msgtype: 'm.text', body } });
  const said = () => timeline(room.matrix_room_id);
  const stored = async (replica) => (await api(replica, olenka).ok('GET', '/city/rooms/market/messages?limit=100')).items;
  const untilEverywhere = async (count, at) => {
    await until(`${count} in Matrix`, said, (events) => events.length >= count);
    for (const replica of at) {
      await until(`${count} at ${replica}`, () => stored(replica), (messages) => messages.length >= count);
    }
  };
  const say = (replica, user, body) => api(replica, user).ok('POST', '/city/rooms/market/messages', { body });
  await say(replicas[0], olenka, 'раз');
  await say(replicas[1], taras, 'два');
  await untilEverywhere(2, replicas);
  await inMatrix('три');
  await untilEverywhere(3, replicas);
  assert.deepEqual((await said()).map(([, body]) => body), ['раз', 'два', 'три']);
  const leads = ({ event }) => event === 'city.matrix_outgoing_leads';
  const sender = replicas.find((replica) => rig.roles[replica].events.some(leads));
  const other = replicas.find((replica) => replica !== sender);
  rig.way.target = rig.roles[other].internalUrl;
  await rig.roles[sender].kill();
  await say(other, taras, 'чотири');
  await inMatrix('п’ять');
  await untilEverywhere(5, [other]);
  await rig.roles[sender].start();
  await rig.roles[sender].waitForEvent(({ event }) => event === 'city.ready');
  await say(sender, olenka, 'шість');
  await untilEverywhere(6, replicas);
  const events = await said();
  assert.deepEqual(events.map(([, body]) => body).toSorted(), ['раз', 'два', 'три', 'чотири', 'п’ять', 'шість'].toSorted());
  const [messages, same] = [await stored(sender), await stored(other)];
  assert.deepEqual(messages, same);
  assert.deepEqual(messages.map(({ body }) => body).toSorted(), events.map(([, body]) => body).toSorted());
  assert.equal(new Set(events.map(([who]) => who)).size, 3);
  t.diagnostic(`the sender was ${sender}`);
});

test('whatever goes wrong is told without them', { skip }, async () => {
  const id = `@daarion.nobody:${rig.synapse.serverName}`;
  await gateway('POST', 'presence/online', { matrix_user_id: id, access_token: 'nonsense' });
  await gateway('POST', 'presence/online', { matrix_user_id: `@tester:${rig.synapse.serverName}` });
  await gateway('POST', 'rooms/create', { slug: '../..', name: 'x' });
  await gateway('GET', `rooms/${encode(`!nowhere:${rig.synapse.serverName}`)}`);
  await gateway('GET', `rooms/find-by-alias?alias=${encode(`#city_x:${rig.synapse.serverName}`)}`);
  await rig.synapse.control('pause'); // slow
  assert.equal((await gateway('POST', 'rooms/create', { slug: 'slow', name: 'Slow' })).status, 504);
  await rig.synapse.control('resume');
  await rig.synapse.control('stop'); // down
  assert.equal((await gateway('POST', 'rooms/create', { slug: 'down', name: 'Down' })).status, 503);
  const user = makeUser('Тарас');
  const refused = await ask('city-service', 'POST', '/city/rooms', { json: { name: 'Late', slug: 'late' }, token: user.token });
  assert.equal(refused.status, 503);
  for (const role of Object.keys(rig.roles)) {
    for (const target of ['/metrics', '/readyz']) {
      await ask(role, 'GET', target, { headers: internalHeaders }, true);
    }
  }
  await ask('matrix-gateway', 'GET', '/healthz', {}, true);
  await rig.synapse.control('start');
});

test('no answer, no log, no argument and no table has a credential; no other process has one in its environment', { skip }, async () => {
  const places = rig.answers.map((text, i) => [`answer ${i}`, text]);
  for (const [role, server] of Object.entries(rig.roles)) {
    places.push([`log of ${role}`, server.stderr]);
    places.push([`command line of ${role}`, fs.readFileSync(`/proc/${server.pid}/cmdline`, 'utf8')]);
    if (role !== 'matrix-gateway') {
      places.push([`environment of ${role}`, fs.readFileSync(`/proc/${server.pid}/environ`, 'utf8')]);
    }
    for (const name of fs.readdirSync(server.dataDir, { recursive: true })) {
      const file = path.join(server.dataDir, name);
      if (fs.statSync(file).isFile()) {
        places.push([`${role} ${name}`, fs.readFileSync(file, 'latin1')]);
      }
    }
  }
  for (const [table, text] of Object.entries(await dumpTables(rig.database.url))) {
    places.push([`table ${table}`, text]);
  }
  assert.ok(places.length > 30 && places.every(([, text]) => typeof text === 'string'));
  for (const [where, text] of places) {
    for (const [what, secret] of Object.entries({ ...rig.secrets, resident_token: rig.residentToken })) {
      assert.ok(!text.includes(secret), `${what} stands in ${where}`);
    }
  }
  // The search finds what is there.
  const own = fs.readFileSync(`/proc/${rig.roles['matrix-gateway'].pid}/environ`, 'utf8');
  assert.ok(own.includes(rig.synapse.asToken) && own.includes(rig.synapse.adminToken));
  assert.ok(rig.roles['city-service'].stderr.includes('city.ready'));
});

test('no other role knows the settings at all', async () => {
  for (const role of ['city-service', 'auth-service', 'matrix-presence-aggregator']) {
    const { stdout } = await runBinary([role, '--help']);
    assert.match(stdout, /LOG_LEVEL/);
    for (const name of ['MATRIX_AS_TOKEN', 'MATRIX_HS_TOKEN', 'SYNAPSE_ADMIN_TOKEN', 'SYNAPSE_REGISTRATION_SECRET']) {
      assert.ok(!stdout.includes(name), `${role} takes ${name}`);
    }
  }
});
