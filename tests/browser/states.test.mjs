/** States of the city that are nobody's wish: an archived room, counts that nobody vouches for. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { launch, until, Visitor } from './browser.mjs';
import { Server } from './server.mjs';

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

async function nats(verb) {
  const control = process.env.TEST_NATS_CONTROL;
  assert.ok(control, 'the suite is run by script/with-nats and script/with-redis');
  const child = spawn(control, [verb], { stdio: 'ignore' });
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, `the NATS server: ${verb}`);
}

const sizes = [
  { theme: 'night', width: 1280, height: 860 },
  { theme: 'day', width: 360, height: 760 },
];

describe('an archived room', () => {
  let server;
  before(async () => {
    server = await Server.start();
  });
  after(async () => {
    assert.equal(await server?.stop(), true, 'the server ends well');
  });

  for (const size of sizes) {
    test(`can be read and not talked in, and says so where people stand (${size.theme})`, async () => {
      const room = 'builders';
      const olena = await Visitor.enter(browser, server, 'Олена', size);
      const taras = await Visitor.enter(browser, server, 'Тарас', size);
      await olena.openRoom(room);
      await olena.say('останнє слово');
      await olena.hears('останнє слово');
      await taras.page.goto('/city');
      await taras.card('Builders').waitFor();

      await server.operate(`/internal/city/rooms/${room}/archive`);
      await olena.shows('.archive-note', /Кімната в архіві/);
      assert.equal(await olena.page.getByLabel('Повідомлення').count(), 0);
      await olena.shows('.room-about .badge', /архів/);
      await until('the card says it', async () =>
        (await taras.card('Builders').locator('.badge').count()) === 1,
      );
      await until('the feed says it', async () =>
        (await taras.page.locator('.feed-words').allTextContents()).includes('В архіві: Builders'),
      );
      await olena.screenshot(`archived-room-${size.theme}-${size.width}`);
      await taras.card('Builders').scrollIntoViewIfNeeded();
      await taras.screenshot(`archived-city-${size.theme}-${size.width}`);
      assert.deepEqual(await olena.accessibilityFaults(), []);
      assert.deepEqual(await taras.accessibilityFaults(), []);

      await olena.page.reload();
      await olena.shows('.archive-note', /Кімната в архіві/);
      await server.operate(`/internal/city/rooms/${room}/unarchive`);
      await olena.page.getByLabel('Повідомлення').waitFor();
      await olena.say('знову можна');
      await olena.hears('знову можна');
      await olena.leave();
      await taras.leave();
    });
  }
});

describe('counts that nobody vouches for', () => {
  let server;
  before(async () => {
    server = await Server.start({
      NATS_URL: process.env.TEST_NATS_URL,
      REDIS_URL: process.env.TEST_REDIS_URL,
      PRESENCE_LEADER_LEASE_MS: '1s',
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), true, 'the server ends well');
  });

  for (const size of sizes) {
    test(`lie in fog, keep their numbers, and clear up by themselves (${size.theme})`, async () => {
      const olena = await Visitor.enter(browser, server, 'Олена', size);
      await olena.shows('.total', /1\s*людина у місті/);
      await olena.page.locator('.hero:not(.hero-stale)').waitFor();
      await nats('stop');
      await olena.page.locator('.hero-stale').waitFor();
      await olena.shows('.stale-note', /Туман/);
      await olena.shows('.total', /1\s*людина у місті/);
      assert.deepEqual(await olena.accessibilityFaults(), []);
      assert.equal(await olena.sidewaysScroll(), 0);
      await olena.screenshot(`stale-${size.theme}-${size.width}`);
      await nats('start');
      await olena.page.locator('.hero:not(.hero-stale)').waitFor();
      await olena.shows('.stale-note', /^$/);
      await olena.shows('.total', /1\s*людина у місті/);
      await olena.leave();
      await until('nobody is left in the city', async () =>
        (await server.request('/presence/summary')).city.online_total === 0,
      );
    });
  }
});
