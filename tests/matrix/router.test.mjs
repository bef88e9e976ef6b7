// The presence of a large city: what `daarion matrix-config --size` writes, and the presence router module with
// it, in a real Synapse that is started with exactly these files.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { internalHeaders } from '../e2e/support/city.mjs';
import { Client } from '../e2e/support/http.mjs';
import { INTERNAL_KEY, runBinary, startServer } from '../e2e/support/server.mjs';
import { Gateway } from './support/gateway.mjs';
import { MatrixCity } from './support/residents.mjs';
import { Synapse } from './support/synapse.mjs';
import { until } from './support/until.mjs';

const SIZE = 10000;
const encode = encodeURIComponent;
let synapse;
let gateway;

before(async () => {
  synapse = await Synapse.start('', SIZE);
  gateway = await Gateway.start(synapse, { MATRIX_AS_TOKEN: synapse.asToken, MATRIX_PRESENCE_PER_S: 0 });
  await gateway.untilHealth((h) => h.application_service === 'ok');
});
after(async () => {
  await gateway?.remove();
  await synapse?.remove();
});

const file = (name) => path.join(synapse.cityDir, name);

/** An ordinary user of the homeserver: {id, token}. */
async function ordinary(name) {
  const id = `@${name}:${synapse.serverName}`;
  const made = await synapse.call('PUT', `/_synapse/admin/v2/users/${encode(id)}`, { token: synapse.adminToken, json: {} });
  assert.ok([200, 201].includes(made.status), JSON.stringify(made));
  const { access_token: token } = await synapse.ok('POST', `/_synapse/admin/v1/users/${encode(id)}/login`,
    { token: synapse.adminToken, json: {} });
  return { id, token };
}

/** Listens from now on: what has been heard of somebody, until something that fits comes. */
class Listener {
  static async open(token) {
    const listener = new Listener();
    listener.token = token;
    listener.heard = [];
    listener.since = (await listener.#sync(0)).next_batch;
    return listener;
  }

  #sync(timeout) {
    const since = this.since ? `&since=${encode(this.since)}` : '';
    return synapse.ok('GET', `/_matrix/client/v3/sync?set_presence=offline&timeout=${timeout}${since}`, { token: this.token });
  }

  async #listen() {
    const answer = await this.#sync(5000);
    this.since = answer.next_batch;
    for (const event of answer.presence?.events ?? []) {
      this.heard.push([event.sender, event.content.presence]);
    }
    return this.heard;
  }

  until(user, presence) {
    return until(`${user} ${presence}`, () => this.#listen(),
      (heard) => heard.some(([id, word]) => id === user && word === presence));
  }
}

const put = (user, presence) => synapse.ok('PUT', `/_matrix/client/v3/presence/${encode(user.id)}/status`,
  { token: user.token, json: { presence } });

test('the daemon hears of somebody with whom it shares no room; others do not', async () => {
  const [daemon, stranger, other] = [await ordinary('presence_daemon'), await ordinary('stranger'), await ordinary('other')];
  const [ears, deaf] = [await Listener.open(daemon.token), await Listener.open(other.token)];
  await put(stranger, 'online');
  await ears.until(stranger.id, 'online');
  await put(other, 'online');
  await deaf.until(other.id, 'online'); // of himself
  assert.ok(deaf.heard.every(([id]) => id === other.id), JSON.stringify(deaf.heard));
  // Who listens anew is given everybody who is here.
  const initial = await synapse.ok('GET', '/_matrix/client/v3/sync?set_presence=offline&timeout=1', { token: daemon.token });
  assert.ok(initial.presence.events.some((event) => event.sender === stranger.id));
});

test('begun again it lists the rooms that there are now, and touches no secret', async () => {
  const names = ['daarion-homeserver.yaml', 'daarion-appservice.yaml', 'matrix-gateway.env'];
  const before = names.map((name) => fs.readFileSync(file(name), 'utf8'));
  assert.match(fs.readFileSync(file('daarion-presence.yaml'), 'utf8'), /^exclude_rooms_from_presence: \[\]$/m);
  // The city's own rooms, by a backfill as after a first start.
  const env = { INTERNAL_PORT: gateway.server.internalPort, INTERNAL_API_KEY: INTERNAL_KEY };
  assert.equal((await runBinary(['backfill'], { env })).code, 0);
  const { json: rooms } = await gateway.client.get('/internal/city/rooms', { headers: internalHeaders });
  const args = ['matrix-config', `--dir=${synapse.cityDir}`, `--matrix-server-name=${synapse.serverName}`, `--size=${SIZE}`];
  const again = await runBinary(args, { env });
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.stdout, `${file('daarion-presence.yaml')}\n`);
  const text = fs.readFileSync(file('daarion-presence.yaml'), 'utf8');
  assert.ok(rooms.length >= 3);
  for (const room of rooms) {
    assert.ok(text.includes(`\n  - '${room.matrix_room_id}'\n`), room.slug);
  }
  assert.deepEqual(names.map((name) => fs.readFileSync(file(name), 'utf8')), before);
  // Without a city to ask, the earlier file stays.
  const nobody = await runBinary(args, { env: { ...env, INTERNAL_PORT: 1 } });
  assert.equal(nobody.code, 1);
  assert.ok(nobody.stderr.startsWith('daarion: '));
  assert.equal(fs.readFileSync(file('daarion-presence.yaml'), 'utf8'), text);
  for (const size of ['0', '-5', 'many', '']) {
    assert.equal((await runBinary([...args.slice(0, -1), `--size=${size}`], { env })).code, 64, size);
  }
});

test('with the list in force the members of a city room do not hear of each other, the daemon does', async () => {
  const alias = encode(`#city_general:${synapse.serverName}`);
  const [daemon, ann, bob] = [await ordinary('presence_daemon'), await ordinary('ann'), await ordinary('bob')];
  const join = ({ token }) => synapse.ok('POST', `/_matrix/client/v3/join/${alias}`, { token, json: {} });
  await join(ann);
  await join(bob);
  let ears = await Listener.open(bob.token);
  await put(ann, 'online');
  await ears.until(ann.id, 'online'); // before the restart the room is like any other
  await put(ann, 'offline');
  await ears.until(ann.id, 'offline');

  await synapse.control('restart');
  ears = await Listener.open(bob.token);
  const daemonEars = await Listener.open(daemon.token);
  await put(ann, 'unavailable');
  await daemonEars.until(ann.id, 'unavailable');
  await put(bob, 'online');
  await ears.until(bob.id, 'online');
  await daemonEars.until(bob.id, 'online');
  assert.ok(ears.heard.every(([id]) => id === bob.id), JSON.stringify(ears.heard));
  const refused = await synapse.call('GET', `/_matrix/client/v3/presence/${encode(ann.id)}/status`, { token: bob.token });
  assert.equal(refused.status, 403);
});

test('the city counts who is in none of its rooms, and says which way it hears', async (t) => {
  const [daemon, hermit] = [await ordinary('presence_daemon'), await ordinary('hermit')];
  const city = new MatrixCity();
  Object.assign(city, { synapse, daemon });
  city.server = await startServer({
    SYNAPSE_URL: synapse.url,
    MATRIX_SERVER_NAME: synapse.serverName,
    MATRIX_AS_TOKEN: synapse.asToken,
    MATRIX_ACCESS_TOKEN: daemon.token,
    MATRIX_USER_ID: daemon.id,
    MATRIX_PRESENCE_PER_S: 0,
  });
  t.after(() => city.remove());
  city.internal = new Client(city.server.internalUrl);
  await city.internal.ok('POST', '/internal/city/matrix/backfill', undefined, { headers: internalHeaders });
  await city.listening();
  // Who has come in the tests before would go by himself, some time in this one.
  for (const name of ['stranger', 'other', 'ann', 'bob']) {
    await put(await ordinary(name), 'offline');
  }
  await city.until((_, status) => status.online_total === 0);
  const { rooms } = await city.status();
  const counts = (list) => Object.fromEntries(list.map((room) => [room.slug, room.online_count]));
  await put(hermit, 'online');
  await city.until((_, status) => status.online_total === 1);
  await city.until((matrix) => matrix.presence_mode === 'router');
  assert.deepEqual(counts((await city.status()).rooms), counts(rooms));
  await put(hermit, 'offline');
  await city.until((_, status) => status.online_total === 0);
});
