// A Synapse that does not know the city as an application service: what an administrator can do, and how the
// homeserver's limits are kept to.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertError, Client } from '../e2e/support/http.mjs';
import { INTERNAL_KEY, runBinary } from '../e2e/support/server.mjs';
import { Gateway } from './support/gateway.mjs';
import { Synapse } from './support/synapse.mjs';

const encode = encodeURIComponent;
let synapse;

before(async () => {
  synapse = await Synapse.start('app_service_config_files: []\nrc_room_creation: {per_second: 0.5, burst_count: 2}\n');
});
after(() => synapse?.remove());

const alias = (slug) => `#city_${slug}:${synapse.serverName}`;

async function start(t, env) {
  const gateway = await Gateway.start(synapse, env);
  t.after(() => gateway.remove());
  return gateway;
}

test('with an administrator\'s token rooms are made at the pace that the homeserver allows', async (t) => {
  const gateway = await start(t, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken, MATRIX_TIMEOUT_MS: 60000 });
  const health = await gateway.untilHealth((h) => h.synapse === 'connected' && h.status === 'ok');
  assert.equal(health.application_service, 'none');
  assert.equal(health.synapse_admin, 'ok');
  const slugs = ['one', 'two', 'three', 'four', 'five', 'six'];
  const answers = await Promise.all(slugs.map((slug) => gateway.create(slug, slug)));
  assert.deepEqual(answers.map((answer) => answer.status), slugs.map(() => 200));
  const [wait] = gateway.waits();
  assert.equal(wait.call, 'createRoom');
  assert.ok(wait.wait_ms > 0);
  assert.match(wait.hint, /rc_room_creation.*MATRIX_AS_TOKEN/);
  const again = await Promise.all(['seven', 'seven', 'seven', 'one'].map((slug) => gateway.create(slug)));
  assert.deepEqual(again.map((answer) => answer.status), [200, 200, 200, 200]);
  assert.equal(new Set(again.slice(0, 3).map((answer) => answer.json.matrix_room_id)).size, 1);
  assert.deepEqual(again[3].json, answers[0].json);
  const shown = await gateway.get(`rooms/${encode(answers[0].json.matrix_room_id)}`);
  assert.equal(shown.json.name, 'DAARION City — one');
});

test('who has no time to wait is told for how long', async (t) => {
  const gateway = await start(t, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken, MATRIX_TIMEOUT_MS: 1500 });
  await gateway.untilHealth((h) => h.synapse_admin === 'ok');
  // One in two seconds: of several at once most are beyond our time.
  const answers = await Promise.all([1, 2, 3, 4, 5].map((i) => gateway.create(`hurry-${i}`)));
  // (One that the homeserver would have carried out may be beyond it too, on a slow machine.)
  const answer = answers.find((one) => one.status === 429);
  assertError(answer ?? answers[0], 429, 'rate_limited');
  assert.ok(Number(answer.headers['retry-after']) >= 1);
});

test('a backfill waits for the homeserver, and says so', async (t) => {
  const gateway = await start(t, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken, MATRIX_TIMEOUT_MS: 1000 });
  await gateway.untilHealth((h) => h.synapse_admin === 'ok');
  const env = { INTERNAL_PORT: gateway.server.internalPort, INTERNAL_API_KEY: INTERNAL_KEY };
  const { code, stdout, stderr } = await runBinary(['backfill'], { env, timeoutMs: 120_000 });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^backfill: .*; waits \d+ s, as the homeserver limits how many rooms an account makes \(MATRIX_AS_TOKEN lifts that\)$/m);
  assert.match(stdout, /^backfill: (\d+) of \1 rooms, \d+ made, \d+ found, 0 failed\n$/m);
  const rooms = await new Client(gateway.server.publicUrl).ok('GET', '/api/city/rooms');
  assert.ok(rooms.length > 2);
  for (const room of rooms) {
    assert.equal((await synapse.roomOf(alias(room.slug)))?.room_id, room.matrix_room_id, room.slug);
  }
  t.diagnostic(stdout);
});

test("a stranger's room under a city alias is a conflict", async (t) => {
  const gateway = await start(t, { SYNAPSE_REGISTRATION_SECRET: synapse.registrationSecret, MATRIX_TIMEOUT_MS: 60000 });
  const json = { room_alias_name: 'city_squat', preset: 'public_chat' };
  let made;
  do { // the limit is the stranger's too
    made = await synapse.call('POST', '/_matrix/client/v3/createRoom', { token: synapse.adminToken, json });
  } while (made.status === 429);
  assert.equal(made.status, 200);
  assertError(await gateway.create('squat'), 409, 'alias_taken');
  const trusting = await start(t, {
    SYNAPSE_REGISTRATION_SECRET: synapse.registrationSecret,
    MATRIX_ROOM_CREATORS: `@tester:${synapse.serverName}`,
  });
  assert.equal((await trusting.create('squat')).json.matrix_room_id, made.json.room_id);
});

test('with the registration secret the city makes its administrator, and knows it again', async (t) => {
  const gateway = await start(t, { SYNAPSE_REGISTRATION_SECRET: synapse.registrationSecret, MATRIX_TIMEOUT_MS: 60000 });
  assert.equal((await gateway.create('own')).status, 200);
  const { creator } = await synapse.roomOf(alias('own'));
  assert.match(creator, /^@daarion-gateway-[0-9a-f]{8}:/);
  await gateway.server.stop();
  await gateway.server.start();
  assert.equal((await gateway.create('own')).status, 200);
  assert.equal((await gateway.untilHealth((h) => h.synapse_admin === 'ok')).status, 'ok');
  const { devices } = await synapse.ok('GET', `/_synapse/admin/v2/users/${encode(creator)}/devices`, { token: synapse.adminToken });
  assert.equal(devices.length, 1, 'the first one has logged out');
});

test('residents get accounts without a password and tokens that live side by side', async (t) => {
  const gateway = await start(t, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken });
  const user = { user_id: 'u_01JD3V5K0Z00000000000000T2', display_name: 'Тарас' };
  const tabs = await Promise.all([gateway.token(user), gateway.token(user)]);
  for (const tab of tabs) {
    assert.equal(tab.device_id, null);
    assert.equal((await synapse.whoami(tab.access_token)).user_id, tabs[0].matrix_user_id);
    await synapse.ok('GET', '/_matrix/client/v3/sync?timeout=0', { token: tab.access_token });
  }
  const shown = await synapse.ok('GET', `/_synapse/admin/v2/users/${encode(tabs[0].matrix_user_id)}`, { token: synapse.adminToken });
  assert.equal(shown.displayname, 'Тарас');
  assert.equal(shown.admin, false);
  // Somebody was there first.
  await synapse.call('PUT', `/_synapse/admin/v2/users/${encode(`@daarion.squatted:${synapse.serverName}`)}`,
    { token: synapse.adminToken, json: { password: 'mine-0123456789', displayname: 'Mallory' } });
  assertError(await gateway.post('users/token', { user_id: 'squatted' }), 409, 'account_taken');
});

test('a token that is no administrator\'s, and one that has ended', async (t) => {
  const { access_token: resident } = await (await start(t, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken })).token({ user_id: 'nobody' });
  const weak = await start(t, { SYNAPSE_ADMIN_TOKEN: resident });
  const health = await weak.untilHealth((h) => h.synapse_admin === 'refused');
  assert.match(health.checks.matrix.detail, /SYNAPSE_ADMIN_TOKEN.*administrator/);
  assertError(await weak.create('weak'), 503, 'matrix_misconfigured');
  await synapse.ok('POST', '/_matrix/client/v3/logout', { token: resident, json: {} });
  await weak.untilHealth((h) => /any more/.test(h.checks.matrix.detail));
});
