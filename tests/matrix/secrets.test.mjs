// Roles in processes of their own, over PostgreSQL, NATS and Redis: the homeserver's credentials are in
// matrix-gateway alone, and in nothing that any of them says or keeps. And the heartbeat goes all the way there.
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
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const skip = process.env.TEST_DATABASE_URL ? false : 'needs PostgreSQL: script/with-postgres npm test';
const encode = encodeURIComponent;
const rig = { owned: [], roles: {}, answers: [] };

async function startRole(name, env) {
  const server = new Server({ ...rig.env, LOG_LEVEL: 'debug', ...env }, temporaryDirectory('role'), { args: [name] });
  rig.roles[name] = server;
  return server.start();
}

before(async () => {
  if (skip) {
    return;
  }
  rig.synapse = await Synapse.start();
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
    SYNAPSE_ADMIN_TOKEN: rig.synapse.adminToken,
    SYNAPSE_REGISTRATION_SECRET: rig.synapse.registrationSecret,
    MATRIX_TIMEOUT_MS: 3000,
    MATRIX_CHECK_INTERVAL_MS: 200,
  });
  rig.env.MATRIX_GATEWAY_URL = rig.roles['matrix-gateway'].publicUrl;
  await startRole('matrix-presence-aggregator', { MATRIX_TIMEOUT_MS: 3000 });
  await startRole('city-service', { MATRIX_TIMEOUT_MS: 3000, MATRIX_PUBLIC_URL: rig.synapse.url });
  await startRole('auth-service', {});
  await rig.roles['city-service'].waitForEvent(({ event }) => event === 'city.ready');
  rig.hsToken = fs.readFileSync(path.join(rig.synapse.cityDir, 'daarion-appservice.yaml'), 'utf8').match(/^hs_token: '(.+)'$/m)[1];
  rig.secrets = {
    as_token: rig.synapse.asToken, hs_token: rig.hsToken, admin_token: rig.synapse.adminToken,
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
    for (const name of ['MATRIX_AS_TOKEN', 'SYNAPSE_ADMIN_TOKEN', 'SYNAPSE_REGISTRATION_SECRET']) {
      assert.ok(!stdout.includes(name), `${role} takes ${name}`);
    }
  }
});
