/**
 * The two lines of specs/global-presence-aggregator.md §9 about what people see, with a real Synapse: somebody with a
 * Matrix client, and a browser that looks at /city. The other lines are in tests/matrix/acceptance-presence.test.mjs.
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { MatrixCity, NO_LIMITS, Resident, STEADY } from '../matrix/support/residents.mjs';
import { Synapse } from '../matrix/support/synapse.mjs';
import { launch, until, Visitor } from './browser.mjs';

const WEB_DIR = process.env.WEB_DIR ?? fileURLToPath(new URL('../../web/dist', import.meta.url));

let synapse;
let city;
let browser;

before(async () => {
  synapse = await Synapse.start(NO_LIMITS + STEADY);
  city = await MatrixCity.start(synapse, { WEB_DIR });
  await city.listening();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await city?.remove();
  await synapse?.remove();
});

async function look() {
  const passer = await Visitor.arrive(browser, { url: city.server.publicUrl });
  await passer.page.goto('/city');
  return passer;
}

const nameOf = async (slug) => (await city.api.ok('GET', `/api/city/rooms/${slug}`)).name;

test('UI /city показує online count для кожної кімнати', async () => {
  const passer = await look();
  const people = [];
  for (const [slug, count] of [['general', 2], ['welcome', 1]]) {
    const room = await city.room(slug);
    for (let i = 0; i < count; i += 1) {
      const resident = await Resident.register(synapse, `${slug}${i}`);
      await resident.join(room.matrix_room_id);
      await resident.presence('online');
      people.push(resident);
    }
  }
  await passer.card(await nameOf('general')).getByText('2 онлайн').waitFor();
  await passer.card(await nameOf('welcome')).getByText('1 онлайн').waitFor();
  await passer.card(await nameOf('builders')).getByText('0 онлайн').waitFor();
  await Promise.all(people.map((resident) => resident.presence('offline')));
  await passer.card(await nameOf('general')).getByText('0 онлайн').waitFor();
  await passer.leave();
});

test('Typing indicator відображається', async () => {
  const passer = await look();
  const room = await city.room('builders');
  const card = passer.card(await nameOf('builders'));
  const writer = await Resident.register(synapse, 'writer');
  await writer.join(room.matrix_room_id);
  await writer.presence('online');
  await card.getByText('1 онлайн').waitFor();
  assert.equal(await card.locator('.window-typing').count(), 0);
  await writer.typing(room.matrix_room_id, true);
  await card.locator('.window-typing').waitFor();
  await card.getByText(/пише/).waitFor();
  await writer.typing(room.matrix_room_id, false);
  await until('nobody types', async () => (await card.locator('.window-typing').count()) === 0);
  await passer.leave();
});
