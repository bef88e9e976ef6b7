// A city that talks with a homeserver which does what a test tells it to, and what goes between them.
import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import {
  ADMIN_TOKEN, AS_TOKEN, FakeHomeserver, HS_TOKEN, SERVER_NAME,
} from './homeserver.mjs';
import { Client } from './http.mjs';
import { startServer } from './server.mjs';

export const ADA = `@ada:${SERVER_NAME}`;
let rooms = 0;

/** A homeserver, and a city that talks with it. */
export function useChat(env = {}) {
  const rig = {};
  before(async () => {
    rig.homeserver = await new FakeHomeserver().listen();
    rig.server = await startServer({
      SYNAPSE_URL: rig.homeserver.url,
      MATRIX_SERVER_NAME: SERVER_NAME,
      MATRIX_AS_TOKEN: AS_TOKEN,
      MATRIX_HS_TOKEN: HS_TOKEN,
      MATRIX_TIMEOUT_MS: 2000,
      MATRIX_CHECK_INTERVAL_MS: 100,
      ...env,
    });
    rig.homeserver.pushUrl = rig.server.internalUrl;
    rig.api = new Client(rig.server.publicUrl);
    rig.internal = new Client(rig.server.internalUrl);
    await pushFirst(rig);
  });
  afterEach(() => {
    rig.homeserver.mode = 'ok';
    rig.homeserver.script.length = 0;
    rig.homeserver.release();
  });
  after(async () => {
    const metrics = await rig.internal.get('/metrics');
    await rig.server?.remove();
    await rig.homeserver?.close();
    for (const secret of [AS_TOKEN, HS_TOKEN, ADMIN_TOKEN]) {
      assert.ok(!rig.server.stderr.includes(secret), 'a secret stands in the log');
      assert.ok(!metrics.text.includes(secret), 'a secret stands in the metrics');
    }
  });
  return rig;
}

/** A room that only the calling test uses, with Ada in its Matrix room. */
export async function newRoom(rig, user) {
  rooms += 1;
  const room = await user.api.createRoom(`Бесіда ${rooms}`, { slug: `chat-${rooms}` });
  rig.homeserver.addMember(room.matrix_room_id, ADA, 'Ада');
  return room;
}

/** Pushes by the client that knows openapi.yaml. Only what has been taken has used up its number. */
export async function push(rig, events, { id = rig.homeserver.nextTransaction, token = HS_TOKEN, body } = {}) {
  const response = await rig.internal.request('PUT', `/_matrix/app/v1/transactions/${id}`, {
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: body ?? JSON.stringify({ events, ephemeral: [], 'de.sorunome.msc2409.to_device': [] }),
  });
  if (response.status === 200) {
    rig.homeserver.nextTransaction = id + 1;
  }
  return response;
}

/** What comes first after a start of the gateway is refused once: nobody knows what it comes behind. */
export async function pushFirst(rig) {
  if (rig.server.env.MATRIX_HS_TOKEN !== '') {
    assert.equal((await push(rig, [])).status, 503);
    await pushed(rig, []);
  }
}

export async function pushed(rig, events, options) {
  const response = await push(rig, events, options);
  assert.equal(response.status, 200, response.text);
}

export const text = (rig, room, sender, body, more = {}) => rig.homeserver.makeEvent(room.matrix_room_id, sender,
  { msgtype: 'm.text', body, ...more });
export const bodies = async (rig, room) => (await rig.api.history(room.slug)).map((message) => message.body);

/** Until the homeserver has so many messages of the room. */
export async function untilSaid(rig, room, count) {
  for (;;) {
    const said = rig.homeserver.said(room.matrix_room_id);
    if (said.length >= count) {
      return said;
    }
    await rig.api.get('/livez');
  }
}

export async function counter(rig, name) {
  const metrics = await rig.internal.get('/metrics');
  const line = metrics.text.split('\n').find((entry) => entry.startsWith(`${name} `));
  return Number(line?.split(' ').at(-1));
}

export async function untilCounter(rig, name, fits) {
  for (;;) {
    const value = await counter(rig, name);
    if (fits(value)) {
      return value;
    }
  }
}
