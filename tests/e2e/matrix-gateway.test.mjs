// matrix-gateway against a homeserver that does what these tests tell it to; tests/matrix has the real one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { internalHeaders } from './support/city.mjs';
import {
  ADMIN, ADMIN_TOKEN, AS_TOKEN, FakeHomeserver, HS_TOKEN, REGISTRATION_SECRET, SENDER, SERVER_NAME,
} from './support/homeserver.mjs';
import { assertError, Client } from './support/http.mjs';
import {
  openBackends, runBinary, Server, startServer, temporaryDirectory,
} from './support/server.mjs';

const SECRETS = [AS_TOKEN, HS_TOKEN, ADMIN_TOKEN, REGISTRATION_SECRET];
const encode = encodeURIComponent;

class Gateway {
  constructor(server, homeserver) {
    this.server = server;
    this.homeserver = homeserver;
    this.client = new Client(server.internalUrl);
    this.answers = [];
  }

  async request(method, target, json, headers = internalHeaders) {
    const response = await this.client.request(method, `/internal/matrix/${target}`, { json, headers });
    this.answers.push(response.text);
    return response;
  }

  post(target, json) {
    return this.request('POST', target, json);
  }

  get(target) {
    return this.request('GET', target);
  }

  create(slug, more = {}) {
    return this.post('rooms/create', { slug, name: 'Energy', ...more });
  }

  find(alias) {
    return this.get(`rooms/find-by-alias?alias=${encode(alias)}`);
  }

  health() {
    return this.client.ok('GET', '/healthz');
  }

  /** Health follows the homeserver by itself; nobody has to ask for anything else. */
  async untilHealth(fits) {
    for (;;) {
      const health = await this.health();
      if (fits(health)) {
        return health;
      }
    }
  }
}

/** A homeserver, and a city with these settings on it, for the calling suite. */
function useGateway(env, prepare = () => {}) {
  const rig = {};
  before(async () => {
    rig.homeserver = await new FakeHomeserver().listen();
    prepare(rig.homeserver);
    rig.server = await startServer({
      SYNAPSE_URL: rig.homeserver.url,
      MATRIX_SERVER_NAME: SERVER_NAME,
      MATRIX_TIMEOUT_MS: 3000,
      MATRIX_CHECK_INTERVAL_MS: 100,
      LOG_LEVEL: 'debug',
      ...env,
    });
    rig.gateway = new Gateway(rig.server, rig.homeserver);
  });
  afterEach(() => rig.homeserver.release());
  after(async () => {
    const metrics = await rig.gateway.client.get('/metrics');
    await rig.server.remove();
    await rig.homeserver.close();
    for (const secret of SECRETS) {
      assert.ok(!rig.server.stderr.includes(secret), 'a secret stands in the log');
      assert.ok(!metrics.text.includes(secret), 'a secret stands in the metrics');
      assert.ok(rig.gateway.answers.every((text) => !text.includes(secret)), 'a secret stands in an answer');
    }
  });
  return rig;
}

const fresh = (() => {
  let n = 0;
  return (prefix = 'room') => `${prefix}-${n += 1}`;
})();

describe('as an application service', () => {
  const rig = useGateway({ MATRIX_AS_TOKEN: AS_TOKEN, MATRIX_ROOM_CREATORS: `@old_admin:${SERVER_NAME}, @other:x` });

  test('health says what is so', async () => {
    const health = await rig.gateway.untilHealth((h) => h.synapse === 'connected');
    assert.equal(health.status, 'ok');
    assert.equal(health.server_name, SERVER_NAME);
    assert.equal(health.application_service, 'ok');
    assert.equal(health.synapse_admin, 'none');
    assert.deepEqual(health.checks.matrix, { status: 'ok' });
  });

  test('a room is made with the names of the specification', async () => {
    const { gateway, homeserver } = rig;
    const response = await gateway.create('energy');
    assert.equal(response.status, 200);
    assert.deepEqual(response.json, {
      matrix_room_id: homeserver.aliases.get(`#city_energy:${SERVER_NAME}`),
      matrix_room_alias: `#city_energy:${SERVER_NAME}`,
    });
    const [call] = homeserver.asked(/createRoom/);
    assert.equal(call.token, AS_TOKEN);
    assert.equal(call.body.name, 'DAARION City \u2014 Energy');
    assert.equal(call.body.room_alias_name, 'city_energy');
    assert.equal(call.body.preset, 'public_chat');
    assert.equal(call.body.visibility, 'public');
    assert.equal(call.body.topic, 'City room: Energy');
    assert.deepEqual(call.body.creation_content, { 'm.federate': false });
  });

  test('a private room with a topic of its own', async () => {
    const slug = fresh();
    const response = await rig.gateway.create(slug, { visibility: 'private', topic: 'Тиша' });
    assert.equal(response.status, 200);
    const call = rig.homeserver.asked(/createRoom/).at(-1);
    assert.equal(call.body.preset, 'private_chat');
    assert.equal(call.body.visibility, 'private');
    assert.equal(call.body.topic, 'Тиша');
  });

  test('asking again, also at the same time, gives the same room', async () => {
    const slug = fresh();
    const answers = await Promise.all([1, 2, 3, 4].map(() => rig.gateway.create(slug)));
    answers.push(await rig.gateway.create(slug));
    answers.push(await rig.gateway.find(`#city_${slug}:${SERVER_NAME}`));
    for (const answer of answers) {
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json, answers[0].json);
    }
  });

  test('a room whose answer was lost is found the next time', async () => {
    const slug = fresh();
    // The homeserver makes the room and dies before it has said so.
    rig.homeserver.answer(/createRoom/, (call) => {
      rig.homeserver.addRoom(`#${call.body.room_alias_name}:${SERVER_NAME}`, SENDER);
      return [502, '<html>Bad Gateway</html>'];
    });
    assertError(await rig.gateway.create(slug), 503, 'matrix_unavailable');
    const again = await rig.gateway.create(slug);
    assert.equal(again.status, 200);
    assert.equal(again.json.matrix_room_id, rig.homeserver.aliases.get(`#city_${slug}:${SERVER_NAME}`));
  });

  test("a stranger's room under a city alias is a conflict, for creating and for finding", async () => {
    const { gateway, homeserver } = rig;
    const slug = fresh();
    homeserver.addRoom(`#city_${slug}:${SERVER_NAME}`, `@mallory:${SERVER_NAME}`);
    assertError(await gateway.create(slug), 409, 'alias_taken');
    assertError(await gateway.find(`#city_${slug}:${SERVER_NAME}`), 409, 'alias_taken');
    // Also when we have been invited into it.
    homeserver.rooms.get(homeserver.aliases.get(`#city_${slug}:${SERVER_NAME}`)).members.add(SENDER);
    assertError(await gateway.create(slug), 409, 'alias_taken');
  });

  test('a room that was left half-made is not found, and made anew when nobody can be making it any more', async () => {
    const { gateway, homeserver } = rig;
    const slug = fresh();
    const alias = `#city_${slug}:${SERVER_NAME}`;
    const id = homeserver.addRoom(alias, SENDER);
    const half = Object.assign(homeserver.rooms.get(id), { isHalfMade: true, origin_server_ts: Date.now() });
    assertError(await gateway.find(alias), 404, 'not_found');
    const early = await gateway.create(slug);
    assertError(early, 503, 'matrix_unavailable');
    assert.match(early.json.detail, /in a minute/);
    assert.equal(homeserver.aliases.get(alias), id);
    // Who comes while it is being made waits for it.
    const looks = homeserver.asked(/m.room.join_rules/).length;
    const waiting = gateway.create(slug);
    await homeserver.waitFor(/m.room.join_rules/, looks + 2);
    half.isHalfMade = false;
    assert.equal((await waiting).json.matrix_room_id, id);
    half.isHalfMade = true;
    half.origin_server_ts -= 61_000;
    assertError(await gateway.find(alias), 404, 'not_found');
    const made = await gateway.create(slug);
    assert.equal(made.status, 200, made.text);
    assert.notEqual(made.json.matrix_room_id, id);
    assert.equal(homeserver.aliases.get(alias), made.json.matrix_room_id);
    assert.ok(!half.members.has(SENDER));
    assert.deepEqual((await gateway.create(slug)).json, made.json);
    // One that only seems to be, as it is being made just now.
    half.isHalfMade = false;
    homeserver.aliases.set(alias, id);
    half.members.add(SENDER);
    assert.equal((await gateway.create(slug)).json.matrix_room_id, id);
  });

  test('a room of an earlier administrator is ours when the settings say so', async () => {
    const slug = fresh();
    const id = rig.homeserver.addRoom(`#city_${slug}:${SERVER_NAME}`, `@old_admin:${SERVER_NAME}`);
    rig.homeserver.rooms.get(id).members.add(SENDER);
    const response = await rig.gateway.create(slug);
    assert.equal(response.status, 200, response.text);
    assert.equal(response.json.matrix_room_id, id);
  });

  test('aliases: unknown, of another server, of another kind, malformed', async () => {
    const { gateway, homeserver } = rig;
    assertError(await gateway.find(`#city_nowhere:${SERVER_NAME}`), 404, 'not_found');
    const other = homeserver.addRoom(`#lounge:${SERVER_NAME}`, `@alice:${SERVER_NAME}`);
    const found = await gateway.find(`#lounge:${SERVER_NAME}`);
    assert.equal(found.json.matrix_room_id, other); // the city claims nothing about it
    const before = homeserver.requests.length;
    assertError(await gateway.find('#city_energy:matrix.org'), 422, 'invalid_input', 'alias', 'wrong_server');
    assertError(await gateway.find(`#city_energy:${SERVER_NAME}:8448`), 422, 'invalid_input', 'alias', 'wrong_server');
    for (const alias of ['city_energy', '#city_energy', `!city:${SERVER_NAME}`, `#a b:${SERVER_NAME}`, '#:x']) {
      assertError(await gateway.find(alias), 422, 'invalid_input', 'alias');
    }
    assertError(await gateway.get('rooms/find-by-alias'), 422, 'invalid_input', 'alias', 'missing');
    const asked = homeserver.requests.slice(before).filter((r) => !/versions|whoami/.test(r.line));
    assert.deepEqual(asked, [], 'none of them may reach the homeserver');
  });

  test('no slug and no id gets out of its place', async () => {
    const { gateway, homeserver } = rig;
    const before = homeserver.requests.length;
    for (const slug of ['..', '../../_synapse', 'a/b', 'a%2fb', '%2e%2e', 'A', '', '-a', 'a'.repeat(64), 'a:b', 'а']) {
      assertError(await gateway.create(slug), 422, 'invalid_input', 'slug');
    }
    for (const id of ['..', '%2e%2e', '..%2f..%2f_synapse%2fadmin%2fv1%2fusers', 'abc', '%21', '%21a%20b']) {
      const response = await gateway.get(`rooms/${id}`);
      assert.ok([400, 404, 422].includes(response.status), `${id}: ${response.status} ${response.text}`);
    }
    assertError(await gateway.create(fresh(), { name: '' }), 422, 'invalid_input', 'name');
    assertError(await gateway.create(fresh(), { name: 'x'.repeat(81) }), 422, 'invalid_input', 'name');
    assertError(await gateway.create(fresh(), { name: 'a\nb' }), 422, 'invalid_input', 'name');
    assertError(await gateway.create(fresh(), { visibility: 'secret' }), 422, 'invalid_input', 'visibility');
    const asked = homeserver.requests.slice(before).filter((r) => !/versions|whoami/.test(r.line));
    assert.deepEqual(asked, []);
    // What is an id, however odd, stays one part of the path.
    assertError(await gateway.get(`rooms/${encode('!..%2f?x#y:z')}`), 404, 'room_not_found');
    assert.deepEqual(homeserver.requests.at(-1).parts.slice(3, 6), ['v3', 'rooms', '!..%2f?x#y:z']);
  });

  test('name and topic of a room; a room without a topic; a room that is not ours', async () => {
    const { gateway, homeserver } = rig;
    const mine = homeserver.addRoom(`#city_${fresh()}:${SERVER_NAME}`, SENDER);
    assert.deepEqual((await gateway.get(`rooms/${encode(mine)}`)).json,
      { room_id: mine, name: homeserver.rooms.get(mine).name, topic: null });
    homeserver.rooms.get(mine).topic = 'Тема';
    assert.equal((await gateway.get(`rooms/${encode(mine)}`)).json.topic, 'Тема');
    const other = homeserver.addRoom('#x:y', `@alice:${SERVER_NAME}`);
    assertError(await gateway.get(`rooms/${encode(other)}`), 404, 'room_not_found');
  });

  test('a short pause that the homeserver asks for is waited for, and the log says why', async () => {
    const slug = fresh();
    rig.homeserver.answer(/createRoom/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 50 }], 2);
    assert.equal((await rig.gateway.create(slug)).status, 200);
    const event = await rig.server.waitForEvent((e) => e.event === 'matrix.waiting' && e.call === 'createRoom');
    assert.equal(event.wait_ms, 50);
    assert.match(event.hint, /MATRIX_AS_TOKEN/);
  });

  test('a pause beyond our time is the caller\'s to wait', async () => {
    const slug = fresh();
    rig.homeserver.answer(/createRoom/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 62309 }]);
    const response = await rig.gateway.create(slug);
    assertError(response, 429, 'rate_limited');
    assert.equal(response.headers['retry-after'], '63');
    assert.equal((await rig.gateway.create(slug)).status, 200);
  });

  test('every other wrong answer has its own', async () => {
    const { gateway, homeserver } = rig;
    const rows = [
      [[500, { errcode: 'M_UNKNOWN', error: 'Internal server error' }], 502, 'matrix_bad_answer'],
      [[502, '<html>Bad Gateway</html>'], 503, 'matrix_unavailable'],
      [[503, '<html>Service Unavailable</html>'], 503, 'matrix_unavailable'],
      [[504, '<html>Gateway Timeout</html>'], 503, 'matrix_unavailable'],
      [[200, '<html>It works!</html>'], 502, 'matrix_bad_answer'],
      [[200, '{"room_id": '], 502, 'matrix_bad_answer'],
      [[200, []], 502, 'matrix_bad_answer'],
      [[200, {}], 502, 'matrix_bad_answer'],
      [[200, { room_id: 'not a room' }], 502, 'matrix_bad_answer'],
      [[200, { room_id: 7 }], 502, 'matrix_bad_answer'],
      [[302, '', { Location: 'http://127.0.0.1:1/' }], 502, 'matrix_bad_answer'],
      [[404, '<html>Not Found</html>'], 502, 'matrix_bad_answer'],
      [[404, { errcode: 'M_UNRECOGNIZED' }], 502, 'matrix_bad_answer'],
      [[400, { errcode: 'M_EXCLUSIVE' }], 503, 'matrix_misconfigured'],
      [[403, { errcode: 'M_FORBIDDEN', error: `${AS_TOKEN} is not allowed` }], 403, 'matrix_forbidden'],
      [[401, { errcode: 'M_UNKNOWN_TOKEN', error: `${AS_TOKEN} is unknown` }], 503, 'matrix_misconfigured'],
    ];
    for (const [answer, status, code] of rows) {
      homeserver.answer(/createRoom/, answer);
      assertError(await gateway.create(fresh()), status, code);
    }
    // And it has harmed nothing.
    assert.equal((await gateway.create(fresh())).status, 200);
  });

  test('nothing works without the internal key, and nobody outside gets here', async () => {
    const { gateway, homeserver, server } = rig;
    const before = homeserver.requests.length;
    const calls = [
      ['POST', 'rooms/create', { slug: 'x', name: 'X' }], ['GET', `rooms/find-by-alias?alias=${encode('#a:b')}`],
      ['GET', 'rooms/%21a%3Ab'], ['POST', 'users/token', { user_id: 'u_1' }],
      ['POST', 'users/owners', { matrix_user_ids: ['@a:b'] }],
      ['POST', 'presence/online', { matrix_user_id: '@a:b' }],
    ];
    for (const [method, target, json] of calls) {
      for (const headers of [{}, { 'X-Internal-API-Key': 'wrong' }, { Authorization: `Bearer ${AS_TOKEN}` }]) {
        assertError(await gateway.request(method, target, json, headers), 401, 'unauthorized');
      }
      const outside = await new Client(server.publicUrl).request(method, `/internal/matrix/${target}`,
        { json, headers: internalHeaders });
      assert.ok(outside.status === 404 || outside.status === 405 || !outside.headers['content-type'].includes('json'),
        `${method} ${target} on the public listener: ${outside.status}`);
    }
    const asked = homeserver.requests.slice(before).filter((r) => !/versions|whoami/.test(r.line));
    assert.deepEqual(asked, []);
  });

  test('whose accounts they are: those that have been made, and no others', async () => {
    const { gateway, homeserver } = rig;
    const user_id = 'щ'.repeat(60);
    const { json: made } = await gateway.post('users/token', { user_id });
    const asked = homeserver.requests.length;
    const stranger = `@somebody:${SERVER_NAME}`;
    const found = await gateway.post('users/owners', { matrix_user_ids: [made.matrix_user_id, stranger, made.matrix_user_id] });
    assert.equal(found.status, 200, found.text);
    assert.deepEqual(found.json, { owners: [{ matrix_user_id: made.matrix_user_id, user_id }] });
    assert.deepEqual((await gateway.post('users/owners', { matrix_user_ids: [stranger] })).json, { owners: [] });
    const many = Array.from({ length: 201 }, (_, i) => `@a${i}:b`);
    for (const matrix_user_ids of [undefined, null, [], {}, 'x', [7], ['no id'], ['@a'], ['!room:b'], many]) {
      assertError(await gateway.post('users/owners', { matrix_user_ids }), 422, 'invalid_input', 'matrix_user_ids');
    }
    assertError(await gateway.post('users/owners', []), 422, 'invalid_input');
    assert.equal(homeserver.requests.slice(asked).filter((r) => !/versions|whoami/.test(r.line)).length, 0);
  });

  describe('tokens', () => {
    test('two tabs of one resident get one account and two sessions', async () => {
      const { gateway, homeserver } = rig;
      const body = { user_id: 'u_01JD3V5K0Z8QW2N7X4T6R9Y1AB', display_name: 'Оленка' };
      const [first, second] = await Promise.all([gateway.post('users/token', body), gateway.post('users/token', body)]);
      const id = `@daarion.u__01_j_d3_v5_k0_z8_q_w2_n7_x4_t6_r9_y1_a_b:${SERVER_NAME}`;
      for (const answer of [first, second]) {
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.matrix_user_id, id);
        assert.equal(answer.json.home_server, SERVER_NAME);
        assert.equal(homeserver.tokens.get(answer.json.access_token).user, id);
        assert.equal(answer.headers['cache-control'], 'no-store');
      }
      assert.notEqual(first.json.device_id, second.json.device_id);
      const registered = homeserver.asked(/POST .*register$/).filter((r) => id.includes(r.body.username));
      assert.equal(registered.length, 1);
      assert.equal(registered[0].body.password, undefined);
      assert.equal(homeserver.users.get(id).displayname, 'Оленка');
    });

    test('the name on the homeserver follows, and is not set again without need', async () => {
      const { gateway, homeserver } = rig;
      const user = fresh('user');
      const id = (await gateway.post('users/token', { user_id: user, display_name: 'A' })).json.matrix_user_id;
      const sets = () => homeserver.asked(/PUT .*displayname/).filter((r) => r.parts.includes(id)).length;
      await gateway.post('users/token', { user_id: user, display_name: 'A' });
      await gateway.post('users/token', { user_id: user });
      assert.equal(sets(), 1);
      await gateway.post('users/token', { user_id: user, display_name: 'B' });
      assert.equal(sets(), 2);
      assert.equal(homeserver.users.get(id).displayname, 'B');
    });

    test('a device that comes back keeps its name; only its own token ends', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      const other = (await gateway.post('users/token', { user_id })).json;
      const first = (await gateway.post('users/token', { user_id, device_id: 'TAB1' })).json;
      const again = (await gateway.post('users/token', { user_id, device_id: 'TAB1' })).json;
      assert.equal(again.device_id, 'TAB1');
      assert.ok(!homeserver.tokens.has(first.access_token));
      assert.ok(homeserver.tokens.has(again.access_token));
      assert.ok(homeserver.tokens.has(other.access_token));
    });

    test("somebody else's account of that name stays untouched", async () => {
      const { gateway, homeserver } = rig;
      homeserver.addUser(`@daarion.squatted:${SERVER_NAME}`, { displayname: 'Mallory' });
      for (let i = 0; i < 2; i += 1) {
        assertError(await gateway.post('users/token', { user_id: 'squatted', display_name: 'V' }), 409, 'account_taken');
      }
      assert.equal(homeserver.users.get(`@daarion.squatted:${SERVER_NAME}`).displayname, 'Mallory');
      assert.equal(homeserver.asked(/login/).filter((r) => r.body.identifier.user.includes('squatted')).length, 0);
      // Also when it appears between looking and making.
      homeserver.answer(/profile/, [404, { errcode: 'M_NOT_FOUND' }], 2);
      homeserver.addUser(`@daarion.raced:${SERVER_NAME}`);
      for (let i = 0; i < 2; i += 1) {
        assertError(await gateway.post('users/token', { user_id: 'raced' }), 409, 'account_taken');
      }
    });

    test('an account whose making was cut short is found again', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      homeserver.answer(/POST .*register$/, (call) => {
        homeserver.addUser(`@${call.body.username}:${SERVER_NAME}`);
        return [502, '<html>Bad Gateway</html>'];
      });
      assertError(await gateway.post('users/token', { user_id }), 503, 'matrix_unavailable');
      assert.equal((await gateway.post('users/token', { user_id })).status, 200);
    });

    test('a homeserver that has lost its accounts gets them again', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      const id = (await gateway.post('users/token', { user_id, display_name: 'N' })).json.matrix_user_id;
      homeserver.users.delete(id);
      const again = await gateway.post('users/token', { user_id, display_name: 'N' });
      assert.equal(again.status, 200, again.text);
      assert.equal(again.json.matrix_user_id, id);
      assert.equal(homeserver.users.get(id).displayname, 'N');
    });

    test('refusals: a deactivated account, a login without a token, wrong input', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      const id = (await gateway.post('users/token', { user_id })).json.matrix_user_id;
      homeserver.users.get(id).deactivated = true;
      assertError(await gateway.post('users/token', { user_id }), 403, 'matrix_user_deactivated');
      homeserver.users.get(id).deactivated = false;
      homeserver.answer(/login/, [200, { user_id: id }]);
      assertError(await gateway.post('users/token', { user_id }), 502, 'matrix_bad_answer');
      for (const [body, field] of [[{}, 'user_id'], [{ user_id: 'a b' }, 'user_id'], [{ user_id: '' }, 'user_id'],
        [{ user_id: 'x'.repeat(129) }, 'user_id'], [{ user_id: 'x', display_name: 7 }, 'display_name'],
        [{ user_id: 'x', device_id: 'є' }, 'device_id']]) {
        assertError(await gateway.post('users/token', body), 422, 'invalid_input', field);
      }
    });

    test('ids that the first implementation cut to one name are two accounts', async () => {
      const ids = await Promise.all(['01234567-aaaa', '01234567-bbbb', '0123-4567aaaa', 'U_1', 'u_1'].map(
        async (user_id) => (await rig.gateway.post('users/token', { user_id })).json.matrix_user_id));
      assert.equal(new Set(ids).size, ids.length);
    });
  });

  describe('presence', () => {
    const put = (body) => rig.gateway.post('presence/online', body);

    test("is set with the resident's token, and without one as the application service", async () => {
      const { gateway, homeserver } = rig;
      const { json } = await gateway.post('users/token', { user_id: fresh('user') });
      const id = json.matrix_user_id;
      assert.deepEqual((await put({ matrix_user_id: id, access_token: json.access_token })).json,
        { ok: true, matrix_user_id: id, status: 'online' });
      assert.deepEqual(homeserver.users.get(id).presence, { presence: 'online' });
      assert.equal(homeserver.asked(/PUT .*presence/).at(-1).token, json.access_token);
      const away = await put({ matrix_user_id: id, status: 'unavailable', status_msg: 'чай' });
      assert.equal(away.json.status, 'unavailable');
      assert.deepEqual(homeserver.users.get(id).presence, { presence: 'unavailable', status_msg: 'чай' });
      assert.equal(homeserver.asked(/PUT .*presence/).at(-1).query.get('user_id'), id);
      assert.equal((await put({ matrix_user_id: id, access_token: json.access_token, status: 'offline' })).status, 200);
    });

    test('by the id in the city: of who has an account, and none is made for it', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      const before = homeserver.requests.length;
      assertError(await put({ user_id }), 404, 'not_provisioned');
      const asked = homeserver.requests.slice(before).filter((r) => !/versions|whoami/.test(r.line));
      assert.deepEqual(asked, [], 'the homeserver is not asked for it');
      const { json } = await gateway.post('users/token', { user_id });
      const set = await put({ user_id, status: 'unavailable' });
      assert.deepEqual(set.json, { ok: true, matrix_user_id: json.matrix_user_id, status: 'unavailable' });
      assert.deepEqual(homeserver.users.get(json.matrix_user_id).presence, { presence: 'unavailable' });
      assert.equal(homeserver.asked(/PUT .*presence/).at(-1).query.get('user_id'), json.matrix_user_id);
      homeserver.answer(/PUT .*presence/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 9001 }]);
      assertError(await put({ user_id }), 429, 'rate_limited');
      for (const [body, field] of [[{ user_id: 'a b' }, 'user_id'],
        [{ user_id, matrix_user_id: json.matrix_user_id }, 'user_id'],
        [{ user_id, access_token: json.access_token }, 'user_id'], [{ user_id, status: 'busy' }, 'status']]) {
        assertError(await put(body), 422, 'invalid_input', field);
      }
    });

    test('passes on what the homeserver refuses', async () => {
      const { gateway, homeserver } = rig;
      const { json } = await gateway.post('users/token', { user_id: fresh('user') });
      const body = { matrix_user_id: json.matrix_user_id, access_token: json.access_token };
      assertError(await put({ ...body, access_token: 'gone' }), 401, 'matrix_token_refused');
      assertError(await put({ ...body, matrix_user_id: `@other:${SERVER_NAME}` }), 403, 'matrix_forbidden');
      homeserver.answer(/PUT .*presence/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 9001 }]);
      const limited = await put(body);
      assertError(limited, 429, 'rate_limited');
      assert.equal(limited.headers['retry-after'], '10');
      // Not even a short pause: the next heartbeat comes by itself.
      homeserver.answer(/PUT .*presence/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 5 }]);
      assertError(await put(body), 429, 'rate_limited');
    });

    test('wrong input does not reach the homeserver', async () => {
      const id = `@daarion.x:${SERVER_NAME}`;
      const before = rig.homeserver.asked(/presence/).length;
      for (const [body, field] of [[{}, 'matrix_user_id'], [{ matrix_user_id: 'x' }, 'matrix_user_id'],
        [{ matrix_user_id: '@x:matrix.org' }, 'matrix_user_id'], [{ matrix_user_id: id, status: 'busy' }, 'status'],
        [{ matrix_user_id: id, access_token: 'a b' }, 'access_token'],
        [{ matrix_user_id: id, access_token: 'a\r\nX-Evil: 1' }, 'access_token'],
        [{ matrix_user_id: id, status_msg: 'x'.repeat(201) }, 'status_msg']]) {
        assertError(await put(body), 422, 'invalid_input', field);
      }
      assert.equal(rig.homeserver.asked(/presence/).length, before);
    });
  });

  describe('a homeserver that fails', () => {
    afterEach(async () => {
      rig.homeserver.mode = 'ok';
      rig.homeserver.release();
      await rig.gateway.untilHealth((h) => h.synapse === 'connected' && h.checks.matrix.status === 'ok');
    });

    for (const [mode, word, status, code] of [['html502', 'unavailable', 503, 'matrix_unavailable'],
      ['error500', 'error', 502, 'matrix_bad_answer'], ['html200', 'error', 502, 'matrix_bad_answer'],
      ['badJson', 'error', 502, 'matrix_bad_answer']]) {
      test(`${mode}: health says ${word}, calls say ${code}`, async () => {
        rig.homeserver.mode = mode;
        const health = await rig.gateway.untilHealth((h) => h.synapse !== 'connected');
        assert.equal(health.synapse, word);
        assert.equal(health.status, 'degraded'); // the city works on
        assert.equal(health.checks.matrix.status, 'unavailable');
        assertError(await rig.gateway.create(fresh()), status, code);
      });
    }

    test('whatever is asked, a homeserver that fails gets the answer of its failure', async () => {
      const { gateway, homeserver } = rig;
      const user_id = fresh('user');
      const { json: account } = await gateway.post('users/token', { user_id });
      const room = (await gateway.create(fresh())).json;
      const modes = [['html502', 503, 'matrix_unavailable'], ['error500', 502, 'matrix_bad_answer'],
        ['badJson', 502, 'matrix_bad_answer']];
      for (const [mode, status, code] of modes) {
        homeserver.mode = mode;
        const calls = [
          gateway.create(fresh()), gateway.find(room.matrix_room_alias),
          gateway.get(`rooms/${encode(room.matrix_room_id)}`), gateway.post('users/token', { user_id }),
          gateway.post('presence/online', { user_id }),
          gateway.post('presence/online', { matrix_user_id: account.matrix_user_id, access_token: account.access_token }),
        ];
        for (const answer of await Promise.all(calls)) {
          assertError(answer, status, code);
        }
        homeserver.mode = 'ok';
        await gateway.untilHealth((h) => h.synapse === 'connected');
      }
    });

    test('slow: the answer comes after our time, not after its', async () => {
      rig.homeserver.mode = 'hang';
      assertError(await rig.gateway.create(fresh()), 504, 'matrix_timeout');
      const health = await rig.gateway.untilHealth((h) => h.synapse === 'unavailable');
      assert.match(health.checks.matrix.detail, /in time/);
    });

    test('down, and back', async () => {
      await rig.homeserver.close();
      assertError(await rig.gateway.create(fresh()), 503, 'matrix_unavailable');
      assertError(await rig.gateway.post('users/token', { user_id: fresh('user') }), 503, 'matrix_unavailable');
      assert.equal((await rig.gateway.untilHealth((h) => h.synapse !== 'connected')).synapse, 'unavailable');
      await rig.homeserver.listen();
      await rig.gateway.untilHealth((h) => h.synapse === 'connected');
      assert.equal((await rig.gateway.create(fresh())).status, 200);
    });

    test('an application service that is no longer registered', async () => {
      const owner = rig.homeserver.tokens.get(AS_TOKEN);
      rig.homeserver.tokens.delete(AS_TOKEN);
      const health = await rig.gateway.untilHealth((h) => h.application_service === 'refused');
      assert.equal(health.synapse, 'connected');
      assert.match(health.checks.matrix.detail, /MATRIX_AS_TOKEN/);
      assertError(await rig.gateway.create(fresh()), 503, 'matrix_misconfigured');
      rig.homeserver.tokens.set(AS_TOKEN, owner);
      await rig.gateway.untilHealth((h) => h.application_service === 'ok');
      assert.equal((await rig.gateway.create(fresh())).status, 200);
    });
  });
});

describe('as an administrator', () => {
  const rig = useGateway({ SYNAPSE_ADMIN_TOKEN: ADMIN_TOKEN });

  test('rooms are made, found and shown', async () => {
    const { gateway, homeserver } = rig;
    const slug = fresh();
    const made = await gateway.create(slug);
    assert.equal(made.status, 200);
    assert.deepEqual((await gateway.create(slug)).json, made.json);
    const id = made.json.matrix_room_id;
    assert.equal((await gateway.get(`rooms/${encode(id)}`)).json.name, homeserver.rooms.get(id).name);
    assertError(await gateway.get(`rooms/${encode('!none:x')}`), 404, 'room_not_found');
    assert.equal((await gateway.health()).synapse_admin, 'ok');
  });

  test('a room that we made and left is still ours', async () => {
    const slug = fresh();
    const id = rig.homeserver.addRoom(`#city_${slug}:${SERVER_NAME}`, ADMIN);
    rig.homeserver.rooms.get(id).members.clear();
    assert.equal((await rig.gateway.create(slug)).json.matrix_room_id, id);
  });

  test("a stranger's room is told apart, and an alias without a room", async () => {
    const slug = fresh();
    const id = rig.homeserver.addRoom(`#city_${slug}:${SERVER_NAME}`, `@mallory:${SERVER_NAME}`);
    assertError(await rig.gateway.create(slug), 409, 'alias_taken');
    rig.homeserver.rooms.delete(id);
    assertError(await rig.gateway.create(slug), 409, 'alias_taken');
  });

  test('accounts have no password, tokens no device, and none ends another', async () => {
    const { gateway, homeserver } = rig;
    const user_id = fresh('user');
    const first = (await gateway.post('users/token', { user_id })).json;
    const second = (await gateway.post('users/token', { user_id })).json;
    assert.equal(first.device_id, null);
    assert.ok(homeserver.tokens.has(first.access_token) && homeserver.tokens.has(second.access_token));
    assert.deepEqual(homeserver.asked(/PUT .*v2\/users/)[0].body, {});
    homeserver.addUser(`@daarion.squatted:${SERVER_NAME}`);
    assertError(await gateway.post('users/token', { user_id: 'squatted' }), 409, 'account_taken');
    // Who comes between two attempts, of which the first has certainly made nothing, is a stranger too.
    homeserver.answer(/PUT .*v2\/users/, [429, { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 60000 }]);
    assertError(await gateway.post('users/token', { user_id: 'between' }), 429, 'rate_limited');
    homeserver.addUser(`@daarion.between:${SERVER_NAME}`);
    assertError(await gateway.post('users/token', { user_id: 'between' }), 409, 'account_taken');
    // An answer that was lost may have been about an account that is made.
    homeserver.answer(/PUT .*v2\/users/, (call) => {
      homeserver.addUser(call.parts[5]);
      return [502, 'bad gateway'];
    });
    assertError(await gateway.post('users/token', { user_id: 'lost' }), 503, 'matrix_unavailable');
    assert.equal((await gateway.post('users/token', { user_id: 'lost' })).status, 200);
    assertError(await gateway.post('presence/online', { matrix_user_id: first.matrix_user_id }),
      422, 'invalid_input', 'access_token', 'missing');
    assertError(await gateway.post('presence/online', { user_id }), 409, 'no_application_service');
  });

  test('the administrator\'s token expires', async () => {
    const owner = rig.homeserver.tokens.get(ADMIN_TOKEN);
    rig.homeserver.tokens.delete(ADMIN_TOKEN);
    assertError(await rig.gateway.create(fresh()), 503, 'matrix_misconfigured');
    const health = await rig.gateway.untilHealth((h) => h.synapse_admin === 'refused');
    assert.match(health.checks.matrix.detail, /SYNAPSE_ADMIN_TOKEN/);
    assertError(await rig.gateway.create(fresh()), 503, 'matrix_misconfigured');
    rig.homeserver.tokens.set(ADMIN_TOKEN, { ...owner, isAdmin: false });
    const demoted = await rig.gateway.untilHealth((h) => /administrator/.test(h.checks.matrix.detail));
    assert.equal(demoted.synapse_admin, 'refused');
    rig.homeserver.tokens.set(ADMIN_TOKEN, owner);
    await rig.gateway.untilHealth((h) => h.synapse_admin === 'ok');
  });
});

describe('as an administrator of its own making', () => {
  const rig = useGateway({ SYNAPSE_REGISTRATION_SECRET: REGISTRATION_SECRET });

  test('the account is made once, used again after a restart, and logged out at the end', async () => {
    const { gateway, homeserver, server } = rig;
    assert.equal((await gateway.create(fresh())).status, 200);
    assert.equal((await gateway.health()).synapse_admin, 'ok');
    const [name] = [...homeserver.users.keys()].filter((id) => id.startsWith('@daarion-gateway-'));
    const tokens = () => [...homeserver.tokens.values()].filter((owner) => owner.user === name).length;
    assert.equal(tokens(), 1);
    await server.stop();
    assert.equal(tokens(), 0);
    await server.start();
    assert.equal((await gateway.create(fresh())).status, 200);
    assert.equal(tokens(), 1);
    assert.equal([...homeserver.users.keys()].filter((id) => id.startsWith('@daarion-gateway-')).length, 1);
    const { password } = homeserver.users.get(name);
    assert.ok(!server.stderr.includes(password));
  });

  test('a token that was ended is made again', async () => {
    const { gateway, homeserver } = rig;
    const own = () => [...homeserver.tokens].filter(([, owner]) => owner.user.startsWith('@daarion-gateway-'));
    for (const [token] of own()) {
      homeserver.tokens.delete(token);
    }
    const first = await gateway.create(fresh()); // refused, unless the gateway has looked in between
    assert.ok([200, 503].includes(first.status));
    await gateway.untilHealth(() => own().length === 1);
    assert.equal((await gateway.create(fresh())).status, 200);
  });

  test('an account with another password, a secret that is wrong, a homeserver without one', async () => {
    const { gateway, homeserver, server } = rig;
    const [name] = [...homeserver.users.keys()].filter((id) => id.startsWith('@daarion-gateway-'));
    for (const [prepare, why] of [
      [() => { homeserver.users.get(name).password = 'changed'; }, /another password/],
      [() => homeserver.answer(/POST .*admin\/v1\/register/, [403, { errcode: 'M_UNKNOWN' }], 1000), /another registration_shared_secret/],
      [() => homeserver.answer(/GET .*admin\/v1\/register/, [400, { errcode: 'M_UNKNOWN' }], 1000), /has no registration_shared_secret/],
    ]) {
      await server.stop();
      prepare();
      await server.start();
      const health = await gateway.untilHealth((h) => h.synapse_admin === 'refused');
      assert.match(health.checks.matrix.detail, why);
      assertError(await gateway.create(fresh()), 503, 'matrix_misconfigured');
    }
  });
});

// Alone the role needs a database that others share.
if (process.env.E2E_DB === 'postgres' || process.env.E2E_BACKENDS === 'real') {
  test('the role alone serves its own port, which MATRIX_GATEWAY_PORT gives', async (t) => {
    const homeserver = await new FakeHomeserver().listen();
    t.after(() => homeserver.close());
    const { env, owned } = await openBackends();
    const server = new Server({
      ...env,
      SYNAPSE_URL: homeserver.url,
      MATRIX_SERVER_NAME: SERVER_NAME,
      MATRIX_AS_TOKEN: AS_TOKEN,
      PORT: undefined,
      MATRIX_GATEWAY_PORT: 0,
    }, temporaryDirectory(), { args: ['matrix-gateway'], owned });
    t.after(() => server.remove());
    await server.start();
    for (const base of [server.publicUrl, server.internalUrl]) {
      const client = new Client(base);
      const room = { slug: 'energy', name: 'Energy' };
      const made = await client.post('/internal/matrix/rooms/create', room, { headers: internalHeaders });
      assert.equal(made.status, 200, made.text);
      assertError(await client.post('/internal/matrix/rooms/create', room), 401, 'unauthorized');
      let health;
      do { // rooms need no database, which may still be connecting
        health = (await client.get('/healthz')).json;
      } while (health.checks.db.status !== 'ok');
      assert.equal(health.status, 'ok');
      assert.equal(health.synapse, 'connected');
    }
    assert.equal(homeserver.aliases.size, 1);
  });
}

describe('settings', () => {
  test('a homeserver of another name is told from ours', async (t) => {
    const homeserver = await new FakeHomeserver().listen();
    t.after(() => homeserver.close());
    const server = await startServer({
      SYNAPSE_URL: homeserver.url, MATRIX_SERVER_NAME: 'wrong.test', MATRIX_AS_TOKEN: AS_TOKEN,
    });
    t.after(() => server.remove());
    const gateway = new Gateway(server, homeserver);
    assertError(await gateway.create('x'), 503, 'matrix_misconfigured');
    const { checks } = await gateway.health();
    assert.match(checks.matrix.detail, /MATRIX_SERVER_NAME.*fake\.test.*wrong\.test/);
  });

  test('without a homeserver the gateway says so', async (t) => {
    const server = await startServer();
    t.after(() => server.remove());
    const gateway = new Gateway(server);
    assertError(await gateway.create('x'), 503, 'matrix_not_configured');
    const health = await gateway.health();
    assert.equal(health.status, 'ok');
    assert.equal(health.synapse, undefined);
  });

  test('the names of the first implementation are understood', async (t) => {
    const homeserver = await new FakeHomeserver().listen();
    t.after(() => homeserver.close());
    const server = await startServer({
      MATRIX_GATEWAY_SYNAPSE_URL: `${homeserver.url}/`,
      MATRIX_GATEWAY_MATRIX_SERVER_NAME: SERVER_NAME,
      MATRIX_GATEWAY_SYNAPSE_ADMIN_TOKEN: ADMIN_TOKEN,
    });
    t.after(() => server.remove());
    assert.equal((await new Gateway(server, homeserver).create('x')).status, 200);
  });

  test('what is missing or wrong is named before anything starts', async () => {
    const dir = temporaryDirectory('matrix');
    const base = { DATA_DIR: dir, PORT: 0, INTERNAL_PORT: 0, LOG_FORMAT: 'json' };
    const rows = [
      [['up'], { SYNAPSE_URL: 'http://127.0.0.1:1' }, /MATRIX_SERVER_NAME is needed/],
      [['up'], { SYNAPSE_URL: 'http://127.0.0.1:1', MATRIX_SERVER_NAME: 'a.b' }, /MATRIX_AS_TOKEN is needed/],
      [['up'], { SYNAPSE_URL: 'ftp://a' }, /SYNAPSE_URL/],
      [['up'], { SYNAPSE_URL: 'http://user:pw@a' }, /SYNAPSE_URL/],
      [['up'], { MATRIX_SERVER_NAME: 'a b' }, /MATRIX_SERVER_NAME/],
      [['up'], { MATRIX_AS_TOKEN: 'a b' }, /MATRIX_AS_TOKEN/],
      [['up'], { MATRIX_ROOM_CREATORS: 'somebody' }, /MATRIX_ROOM_CREATORS/],
      [['matrix-gateway'], { SYNAPSE_URL: 'http://127.0.0.1:1' }, /DATABASE_URL/],
    ];
    try {
      for (const [args, env, why] of rows) {
        const { code, stderr } = await runBinary(args, { env: { ...base, ...env } });
        assert.equal(code, 78, stderr);
        assert.match(stderr, why);
        assert.ok(!stderr.includes('pw@'));
      }
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });

  test('daarion config shows no token', async () => {
    const { stdout } = await runBinary(['config'], { env: {
      SYNAPSE_URL: 'http://127.0.0.1:8008', MATRIX_SERVER_NAME: 'a.b', MATRIX_AS_TOKEN: AS_TOKEN,
      MATRIX_HS_TOKEN: HS_TOKEN, SYNAPSE_ADMIN_TOKEN: ADMIN_TOKEN, SYNAPSE_REGISTRATION_SECRET: REGISTRATION_SECRET,
    } });
    for (const secret of SECRETS) {
      assert.ok(!stdout.includes(secret));
    }
    assert.match(stdout, /^SYNAPSE_URL=http:\/\/127\.0\.0\.1:8008/m);
  });

  test('matrix-config writes its files once', async () => {
    const dir = temporaryDirectory('matrix');
    try {
      const args = ['matrix-config', `--dir=${dir}/config`, '--matrix-server-name=a.b'];
      const { code, stdout, stderr } = await runBinary(args);
      assert.equal(code, 0, stderr);
      const names = stdout.trim().split('\n');
      assert.equal(names.length, 3);
      for (const name of names) {
        assert.equal(fs.statSync(name).mode & 0o777, 0o600);
      }
      // Put where the service units look for settings, only one role's process gets the secrets.
      const unit = fs.readFileSync(new URL('../../deploy/systemd/daarion@.service', import.meta.url), 'utf8');
      const read = [...unit.matchAll(/^EnvironmentFile=-\/etc\/daarion\/(.*)$/gm)].map(([, name]) => name);
      assert.deepEqual(read, ['daarion.env', '%i.env']);
      assert.deepEqual(names.map((name) => path.basename(name)).filter((name) => name.endsWith('.env')), ['matrix-gateway.env']);
      const env = fs.readFileSync(path.join(dir, 'config/matrix-gateway.env'), 'utf8');
      assert.match(env, /^MATRIX_AS_TOKEN=[\w-]{43}$/m);
      const again = await runBinary(args);
      assert.equal(again.code, 1);
      assert.match(again.stderr, /is there already/);
      assert.equal(fs.readFileSync(path.join(dir, 'config/matrix-gateway.env'), 'utf8'), env);
      const nameless = await runBinary(['matrix-config', `--dir=${dir}/other`]);
      assert.equal(nameless.code, 64);
      assert.match(nameless.stderr, /--matrix-server-name/);
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
});
