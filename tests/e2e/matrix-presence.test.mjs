// Who is here, as a homeserver hears it that fails with some people; tests/matrix/heartbeat.test.mjs has the
// real one.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { closing, internalHeaders, person } from './support/city.mjs';
import { AS_TOKEN, FakeHomeserver, SERVER_NAME } from './support/homeserver.mjs';
import { assertError, Client } from './support/http.mjs';
import { startServer } from './support/server.mjs';
import { goOnline } from './support/sockets.mjs';

const OLD_NAME = 'old.test';
const ALWAYS = 1000;
const rig = {};

before(async () => {
  rig.homeserver = await new FakeHomeserver().listen();
  rig.server = await startServer({
    SYNAPSE_URL: rig.homeserver.url, MATRIX_SERVER_NAME: SERVER_NAME, MATRIX_AS_TOKEN: AS_TOKEN,
    MATRIX_TIMEOUT_MS: 2000, MATRIX_CHECK_INTERVAL_MS: 100,
  });
  rig.api = new Client(rig.server.publicUrl);
  rig.internal = new Client(rig.server.internalUrl);
});
afterEach(() => {
  rig.homeserver.script.length = 0;
});
after(async () => {
  await rig.server?.remove();
  await rig.homeserver?.close();
});

function post(path, json) {
  return rig.internal.post(`/internal/matrix/${path}`, json, { headers: internalHeaders });
}

/** A person of the city who has a Matrix account. */
async function resident() {
  const user = person(rig);
  const made = await post('users/token', { user_id: user.id });
  assert.equal(made.status, 200, made.text);
  return { ...user, matrix: made.json.matrix_user_id };
}

const putOf = (user) => new RegExp(`^PUT .*/presence/${encodeURIComponent(user.matrix)}/status$`);
const told = (user) => rig.homeserver.users.get(user.matrix).presence?.presence;

async function online(t, user) {
  const socket = await goOnline(rig.server, user);
  closing(t, socket);
  return socket;
}

async function pushed(outcome) {
  const { text } = await rig.internal.get('/metrics');
  const name = `daarion_matrix_presence_pushed_total{outcome="${outcome}"} `;
  return Number(text.split('\n').find((line) => line.startsWith(name)).slice(name.length));
}

describe('a homeserver that fails with one person', () => {
  test('is asked for her again, each time later, and told of everybody else meanwhile', async (t) => {
    const { homeserver } = rig;
    const [ann, bob] = [await resident(), await resident()];
    homeserver.answer(putOf(ann), [500, { errcode: 'M_UNKNOWN', error: 'of her alone' }], ALWAYS);
    await online(t, ann);
    await homeserver.waitFor(putOf(ann));
    const socket = await online(t, bob);
    const before = homeserver.asked(putOf(ann)).length;
    await homeserver.waitFor(putOf(ann), before + 2); // both wait a second at least
    assert.equal(told(bob), 'online');
    socket.send({ event: 'presence.heartbeat', status: 'away' });
    await homeserver.waitFor(putOf(bob), 2);
    assert.ok(await pushed('failed') >= 2);
    assert.equal(rig.server.events.filter((event) => event.event === 'presence.push_failing').length, 0);
    const said = rig.server.events.filter((event) => event.event === 'presence.push_failed');
    assert.equal(said[0].user_id, ann.id);
  });

  test('that it does not know', async (t) => {
    const { homeserver } = rig;
    const [ann, bob] = [await resident(), await resident()];
    homeserver.answer(putOf(ann), [404, { errcode: 'M_NOT_FOUND', error: 'who is that?' }], ALWAYS);
    await online(t, ann);
    await homeserver.waitFor(putOf(ann));
    await online(t, bob);
    await homeserver.waitFor(putOf(ann), 3);
    assert.equal(told(bob), 'online');
  });
});

test('an account from before MATRIX_SERVER_NAME changed is left alone, and the others are told', async (t) => {
  const { homeserver, server } = rig;
  await server.stop();
  const script = [
    [/whoami$/, [200, { user_id: `@daarion-city:${OLD_NAME}` }]],
    [/register$/, (call) => [200, { user_id: `@${call.body.username}:${OLD_NAME}` }]],
    [/login$/, (call) => [200, { user_id: call.body.identifier.user, access_token: 'old', device_id: 'D' }]],
    [/^PUT .*profile/, [200, {}]],
  ];
  script.forEach(([match, answer]) => homeserver.answer(match, answer, ALWAYS));
  await server.start({ MATRIX_SERVER_NAME: OLD_NAME });
  const ann = await resident();
  assert.match(ann.matrix, /:old\.test$/);
  await server.stop();
  homeserver.script.length = 0;
  await server.start();
  assertError(await post('presence/online', { user_id: ann.id }), 409, 'account_taken');
  const refused = await pushed('refused');
  await online(t, ann);
  const bob = await resident();
  await online(t, bob);
  await homeserver.waitFor(putOf(bob));
  while (await pushed('refused') === refused) { /* hers has not landed yet */ }
  assert.equal(await pushed('failed'), 0);
  assert.equal(homeserver.asked(putOf(ann)).length, 0);
});
