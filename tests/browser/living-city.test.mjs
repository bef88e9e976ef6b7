/**
 * The city and a Matrix client, side by side: real Synapse, NATS and Redis, Chromium, and matrix-js-sdk, which Element
 * is made of. Somebody opens the client and types: the card on /city shows it at once; the two talk with each other;
 * the client is closed: the count falls.
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { closeMatrixClients, openMatrixClient, untilHears } from '../matrix/support/matrix-client.mjs';
import { Push } from '../matrix/support/push.mjs';
import { MatrixCity, NO_LIMITS, Resident } from '../matrix/support/residents.mjs';
import { Synapse } from '../matrix/support/synapse.mjs';
import { launch, until, Visitor } from './browser.mjs';

const WEB_DIR = process.env.WEB_DIR ?? fileURLToPath(new URL('../../web/dist', import.meta.url));
/** So that the homeserver notices soon that a client is gone; it is half a minute in earnest. */
const SOON = 'presence: {enabled: true, sync_online_timeout: 4s, last_active_granularity: 8s}\n';

let push;
let synapse;
let city;
let browser;
let room;

before(async () => {
  push = await new Push().listen();
  synapse = await Synapse.start(NO_LIMITS + SOON, undefined, push.url);
  city = await MatrixCity.start(synapse, {
    WEB_DIR,
    MATRIX_HS_TOKEN: synapse.hsToken,
    NATS_URL: process.env.TEST_NATS_URL,
    REDIS_URL: process.env.TEST_REDIS_URL,
    ROOM_PRESENCE_THROTTLE_MS: 3000, // as in earnest
  });
  push.target = city.server.internalUrl;
  await city.listening();
  room = await city.room('general');
  browser = await launch();
});

after(async () => {
  closeMatrixClients();
  await browser?.close();
  await city?.remove();
  await synapse?.remove();
  await push?.close();
});

test('a person with a Matrix client lights a window, types, talks, and is gone when the client is closed', async () => {
  const server = { url: city.server.publicUrl };
  const passer = await Visitor.arrive(browser, server);
  await passer.page.goto('/city');
  const card = passer.card('General');
  await card.getByText('0 онлайн').waitFor();

  const ada = await Resident.register(synapse, 'ada');
  const client = await openMatrixClient(synapse, ada.id, ada.token);
  await client.joinRoom(room.matrix_room_alias);
  await card.getByText('1 онлайн').waitFor();
  await client.sendTyping(room.matrix_room_id, true, 30_000);
  await card.locator('.window-typing').waitFor();
  await card.getByText(/пише/).waitFor();
  await passer.screenshot('living-city-typing');
  await client.sendTyping(room.matrix_room_id, false, 0);
  await until('nobody types', async () => (await card.locator('.window-typing').count()) === 0);

  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom('general');
  await client.sendTextMessage(room.matrix_room_id, 'Вітання з Element');
  await olena.hears('Вітання з Element');
  await olena.say('І тобі вітання з міста');
  await untilHears(client, room, 'І тобі вітання з міста');
  await olena.screenshot('living-city-talk');
  await until('each is said once', async () => (await olena.words()).length === 2);
  await card.getByText('2 онлайн').waitFor();

  client.stopClient();
  await until('the count falls', async () => (await card.getByText('1 онлайн').count()) === 1, 60_000);
  await olena.leave();
  await card.getByText('0 онлайн').waitFor();
  await passer.leave();
  assert.ok(push.transactions.length > 0, 'the homeserver has told the city what was said');
});
