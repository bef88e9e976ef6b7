import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, until, Visitor } from './browser.mjs';
import { Server } from './server.mjs';

let server;
let browser;
let quiet;

before(async () => {
  server = await Server.start();
  browser = await launch();
  const people = [];
  for (const name of ['Марія Коваль', 'Богдан', 'Соломія']) people.push(await server.guest(name));
  const token = people[0].token;
  for (const name of ['Вечірня кав’ярня', 'Наука', 'Нічна зміна']) {
    await server.request('/api/city/rooms', { token, name, description: `Розмови: ${name}` });
  }
  quiet = await server.request('/api/city/rooms', { token, name: 'Тиха' });
  for (let n = 0; n < 12; n += 1) {
    await server.say(people[n % 3], 'general', `Репліка ${n}: https://daarion.example/${n}`);
  }
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), true, 'the server ends well');
});

const pages = [
  ['city', '/city', '.card-link'],
  ['room', '/city/general', '.line-words'],
  ['login', '/login', '.big-window'],
  ['missing', '/nowhere', '.scene h1'],
  ['missing-room', '/city/no-such-room', '.scene h1'],
];

for (const theme of ['night', 'day']) {
  for (const width of [1280, 360]) {
    test(`every page is accessible and fits: ${theme}, ${width} px`, async () => {
      const passer = await Visitor.arrive(browser, server, { theme, width });
      const olena = await Visitor.enter(browser, server, 'Олена', { theme, width });
      const found = [];
      for (const [who, visitor] of [
        ['passer', passer],
        ['olena', olena],
      ]) {
        for (const [name, path, sign] of [
          ...pages,
          ['quiet', `/city/${quiet.slug}`, '.talk-empty'],
        ]) {
          await visitor.page.goto(path);
          await visitor.page.locator(sign).first().waitFor();
          if (who === 'olena' && name === 'room') {
            await until('the line is up', () => visitor.page.locator('.person-lit').count());
          }
          for (const fault of await visitor.accessibilityFaults()) {
            found.push(`${who} ${name}: ${fault}`);
          }
          const over = await visitor.sidewaysScroll();
          if (over > 0) found.push(`${who} ${name}: ${over} px too wide`);
          await visitor.screenshot(`${name}-${who}-${theme}-${width}`);
        }
      }
      await olena.page.goto('/city');
      await olena.page.getByRole('button', { name: 'Нова кімната' }).click();
      await olena.page.getByRole('dialog').waitFor();
      found.push(...(await olena.accessibilityFaults()).map((fault) => `dialog: ${fault}`));
      await olena.screenshot(`dialog-${theme}-${width}`);
      assert.deepEqual(found, []);
      await passer.leave();
      await olena.leave();
    });
  }
}

test('what does not exist says so and leads back', async () => {
  const passer = await Visitor.arrive(browser, server);
  await passer.page.goto('/city/no-such-room');
  await passer.page.getByRole('heading', { name: 'Такої кімнати немає' }).waitFor();
  await passer.page.getByRole('main').getByRole('link', { name: 'До міста' }).click();
  await passer.page.getByRole('heading', { name: 'Кімнати' }).waitFor();
  await passer.page.goBack();
  await passer.page.getByRole('heading', { name: 'Такої кімнати немає' }).waitFor();
  await passer.leave();
});

test('somebody who wants less motion gets none', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.page.emulateMedia({ reducedMotion: 'reduce' });
  await olena.openRoom('general');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await taras.openRoom('general');
  await taras.page.getByLabel('Повідомлення').pressSequentially('пишу');
  await olena.page.locator('.person-typing').first().waitFor();
  const endless = await olena.page.evaluate(
    () =>
      document
        .getAnimations()
        .filter((animation) => animation.effect?.getTiming().iterations === Infinity).length,
  );
  assert.equal(endless, 0);
  await olena.leave();
  await taras.leave();
});
