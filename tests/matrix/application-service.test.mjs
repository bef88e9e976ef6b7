// The city as an application service of a real Synapse, configured by `daarion matrix-config` alone; Synapse's
// rate limits are its defaults.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { assertError } from '../e2e/support/http.mjs';
import { Gateway } from './support/gateway.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const encode = encodeURIComponent;
let synapse;
let gateway;

before(async () => {
  synapse = await Synapse.start();
  gateway = await Gateway.start(synapse, { MATRIX_AS_TOKEN: synapse.asToken, MATRIX_TIMEOUT_MS: 5000 });
});
after(async () => {
  await gateway?.remove();
  await synapse?.remove();
});

const alias = (slug) => `#city_${slug}:${synapse.serverName}`;

describe('rooms', () => {
  test('a room that the city makes is there for every Matrix client', async () => {
    const made = await gateway.create('energy');
    assert.equal(made.status, 200, made.text);
    const room = await synapse.describedRoomOf(alias('energy'));
    assert.equal(room.room_id, made.json.matrix_room_id);
    assert.equal(room.name, 'DAARION City — Energy');
    assert.equal(room.topic, 'City room: Energy');
    assert.equal(room.canonical_alias, alias('energy'));
    assert.equal(room.creator, `@daarion-city:${synapse.serverName}`);
    assert.equal(room.join_rules, 'public');
    assert.equal(room.history_visibility, 'shared');
    assert.equal(room.guest_access, 'can_join');
    assert.equal(room.federatable, false);
    const { chunk } = await synapse.ok('GET', '/_matrix/client/v3/publicRooms', { token: synapse.adminToken });
    assert.ok(chunk.some((entry) => entry.room_id === room.room_id && entry.name === room.name));
  });

  test('asking again, alone or at the same time, gives the same room', async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => gateway.create('science', 'Наука')));
    answers.push(await gateway.create('science'), await gateway.find(alias('science')));
    for (const answer of answers) {
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json, answers[0].json);
    }
    assert.equal((await synapse.describedRoomOf(alias('science'))).name, 'DAARION City — Наука');
    const shown = await gateway.get(`rooms/${encode(answers[0].json.matrix_room_id)}`);
    assert.deepEqual(shown.json, {
      room_id: answers[0].json.matrix_room_id, name: 'DAARION City — Наука', topic: 'City room: Наука',
    });
    assertError(await gateway.find(alias('nowhere')), 404, 'not_found');
    assertError(await gateway.get(`rooms/${encode(`!nowhere:${synapse.serverName}`)}`), 404, 'room_not_found');
  });

  test('a whole city of rooms is made without a pause', async () => {
    const slugs = Array.from({ length: 15 }, (_, i) => `district-${i}`);
    const answers = await Promise.all(slugs.map((slug) => gateway.create(slug, slug)));
    assert.deepEqual(answers.map((answer) => answer.status), slugs.map(() => 200));
    assert.equal(new Set(answers.map((answer) => answer.json.matrix_room_id)).size, slugs.length);
    assert.deepEqual(gateway.waits(), []);
  });

  test('the names of city rooms are kept from others; a room that is not ours is not used', async () => {
    const create = (token, query, localpart) => synapse.call('POST', `/_matrix/client/v3/createRoom${query}`,
      { token, json: { room_alias_name: localpart } });
    // Even from an administrator.
    assert.equal((await create(synapse.adminToken, '', 'city_squat')).json.errcode, 'M_EXCLUSIVE');
    // The application service itself could, as one of its users.
    const { matrix_user_id: mallory } = await gateway.token({ user_id: 'mallory' });
    assert.equal((await create(synapse.asToken, `?user_id=${encode(mallory)}`, 'city_squat')).status, 200);
    assertError(await gateway.create('squat'), 409, 'alias_taken');
    assertError(await gateway.find(alias('squat')), 409, 'alias_taken');
  });

  test('killed between the two servers, the city finds its room again', async () => {
    await synapse.control('pause');
    const lost = gateway.create('crash').catch((error) => error);
    await gateway.server.waitForEvent((event) => event.event === 'matrix.disconnected');
    await gateway.server.kill();
    await lost;
    await synapse.control('resume');
    // Synapse goes on with what it was asked.
    const room = await until('the room', () => synapse.roomOf(alias('crash')));
    await gateway.server.start();
    const found = await gateway.create('crash');
    assert.equal(found.status, 200, found.text);
    assert.equal(found.json.matrix_room_id, room.room_id);
    assert.equal((await synapse.describedRoomOf(alias('crash'))).name, 'DAARION City — Energy');
  });
});

describe('residents', () => {
  test('whom the first implementation gave one name, two people have two accounts', async () => {
    // The first 8 characters without dashes are the same.
    const ids = ['01234567-1111-4111-8111-111111111111', '01234567-2222-4222-8222-222222222222',
      'u_01JD3V5K0Z8QW2N7X4T6R9Y1AB', 'u_01JD3V5K0Z8QW2N7X4T6R9Y1AC', 'u_01jd3v5k0z8qw2n7x4t6r9y1ab'];
    const accounts = await Promise.all(ids.map((user_id) => gateway.token({ user_id })));
    assert.equal(new Set(accounts.map((account) => account.matrix_user_id)).size, ids.length);
    for (const account of accounts) {
      assert.equal((await synapse.whoami(account.access_token)).user_id, account.matrix_user_id);
    }
  });

  test('two tabs have two sessions, and both can do what a Matrix client does', async () => {
    const user = { user_id: 'u_01JD3V5K0Z00000000000000T1', display_name: 'Оленка' };
    const tabs = await Promise.all([gateway.token(user), gateway.token(user)]);
    assert.notEqual(tabs[0].device_id, tabs[1].device_id);
    const { matrix_room_id: room } = (await gateway.create('plaza', 'Plaza')).json;
    for (const tab of tabs) {
      const self = await synapse.whoami(tab.access_token);
      assert.equal(self.user_id, tabs[0].matrix_user_id);
      assert.equal(self.device_id, tab.device_id);
      const token = tab.access_token;
      await synapse.ok('POST', `/_matrix/client/v3/join/${encode(alias('plaza'))}`, { token, json: {} });
      await synapse.ok('PUT', `/_matrix/client/v3/rooms/${encode(room)}/send/m.room.message/${tab.device_id}`,
        { token, json: { msgtype: 'm.text', body: `Вітаю з ${tab.device_id}` } });
      const sync = await synapse.ok('GET', '/_matrix/client/v3/sync?timeout=0', { token });
      const said = sync.rooms.join[room].timeline.events.filter((event) => event.type === 'm.room.message');
      assert.ok(said.some((event) => event.content.body.endsWith(tab.device_id)));
    }
    const profile = await synapse.ok('GET', `/_matrix/client/v3/profile/${encode(tabs[0].matrix_user_id)}`);
    assert.equal(profile.displayname, 'Оленка');
    // A page that is reloaded comes back on its device.
    const again = await gateway.token({ ...user, device_id: tabs[0].device_id });
    assert.equal((await synapse.whoami(again.access_token)).device_id, tabs[0].device_id);
    await synapse.whoami(tabs[1].access_token);
    const { devices } = await synapse.ok('GET', '/_matrix/client/v3/devices', { token: tabs[1].access_token });
    assert.equal(devices.length, 2);
  });

  test('nobody else can take their names', async () => {
    const { json } = await synapse.call('PUT', `/_synapse/admin/v2/users/${encode(`@daarion.u__9:${synapse.serverName}`)}`,
      { token: synapse.adminToken, json: { password: 'mine-0123456789' } });
    assert.equal(json.errcode, 'M_EXCLUSIVE');
  });

  test('an account that has been deactivated stays so', async () => {
    const { matrix_user_id: id } = await gateway.token({ user_id: 'leaver' });
    await synapse.ok('POST', `/_synapse/admin/v1/deactivate/${encode(id)}`, { token: synapse.adminToken, json: { erase: false } });
    assertError(await gateway.post('users/token', { user_id: 'leaver' }), 403, 'matrix_user_deactivated');
  });

  test('presence is set by the token, and by the application service', async () => {
    const seen = async ({ matrix_user_id: id, access_token: token }) => (await synapse.ok('GET',
      `/_matrix/client/v3/presence/${encode(id)}/status`, { token })).presence;
    const [account, quiet] = [await gateway.token({ user_id: 'present' }), await gateway.token({ user_id: 'quiet' })];
    const body = { matrix_user_id: account.matrix_user_id };
    for (const status of ['online', 'unavailable', 'offline', 'online']) {
      const set = await gateway.post('presence/online', { ...body, access_token: account.access_token, status });
      assert.equal(set.status, 200, set.text);
      assert.equal(await seen(account), status);
      const asService = await gateway.post('presence/online', { matrix_user_id: quiet.matrix_user_id, status });
      assert.equal(asService.status, 200, asService.text);
      assert.equal(await seen(quiet), status);
    }
    assertError(await gateway.post('presence/online', { ...body, access_token: 'nonsense' }), 401, 'matrix_token_refused');
    assertError(await gateway.post('presence/online',
      { matrix_user_id: `@tester:${synapse.serverName}`, access_token: account.access_token }), 403, 'matrix_forbidden');
    // Beyond what the homeserver takes at once (10) it says when to come back.
    const rest = await Promise.all(Array.from({ length: 20 }, (_, i) => gateway.post('presence/online',
      { ...body, access_token: account.access_token, status_msg: String(i) })));
    const limited = rest.find((response) => response.status !== 200);
    assertError(limited, 429, 'rate_limited');
    assert.ok(Number(limited.headers['retry-after']) >= 1);
  });
});

describe('health', () => {
  test('follows a homeserver that stops, starts, hangs and goes on', async () => {
    let health = await gateway.untilHealth((h) => h.synapse === 'connected');
    assert.equal(health.status, 'ok');
    assert.equal(health.application_service, 'ok');
    assert.equal(health.server_name, synapse.serverName);
    await synapse.control('stop');
    health = await gateway.untilHealth((h) => h.synapse !== 'connected');
    assert.equal(health.synapse, 'unavailable');
    assert.equal(health.status, 'degraded');
    assertError(await gateway.create('later'), 503, 'matrix_unavailable');
    await synapse.control('start');
    await gateway.untilHealth((h) => h.synapse === 'connected');
    assert.equal((await gateway.create('later')).status, 200);
    await synapse.control('pause');
    const hanging = gateway.create('slow');
    health = await gateway.untilHealth((h) => h.synapse !== 'connected');
    assert.equal(health.synapse, 'unavailable');
    assertError(await hanging, 504, 'matrix_timeout');
    await synapse.control('resume');
    await gateway.untilHealth((h) => h.synapse === 'connected');
    assert.equal((await gateway.create('slow')).status, 200);
  });

  test('names a token that the homeserver does not know', async (t) => {
    const other = await Gateway.start(synapse, { MATRIX_AS_TOKEN: 'of-another-homeserver' });
    t.after(() => other.remove());
    const health = await other.untilHealth((h) => h.application_service === 'refused');
    assert.equal(health.synapse, 'connected');
    assert.match(health.checks.matrix.detail, /MATRIX_AS_TOKEN.*app_service_config_files/);
    assertError(await other.create('x'), 503, 'matrix_misconfigured');
  });

  test('names a server name that is not the homeserver\'s', async (t) => {
    const other = await Gateway.start(synapse, { MATRIX_AS_TOKEN: synapse.asToken, MATRIX_SERVER_NAME: 'wrong.test' });
    t.after(() => other.remove());
    const health = await other.untilHealth((h) => h.application_service === 'refused');
    assert.match(health.checks.matrix.detail, /MATRIX_SERVER_NAME/);
  });

  test('an administrator cannot make what belongs to the application service', async (t) => {
    const other = await Gateway.start(synapse, { SYNAPSE_ADMIN_TOKEN: synapse.adminToken });
    t.after(() => other.remove());
    const made = await other.create('for-admin');
    assertError(made, 503, 'matrix_misconfigured');
    assert.match(made.json.detail, /MATRIX_AS_TOKEN/);
    assertError(await other.post('users/token', { user_id: 'u_new' }), 503, 'matrix_misconfigured');
  });
});
