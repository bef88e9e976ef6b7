import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, until, Visitor } from './browser.mjs';
import { Server } from './server.mjs';

let server;
let browser;

before(async () => {
  server = await Server.start({ ROOM_PRESENCE_THROTTLE_MS: '200' });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), true, 'the server ends well');
});

test('the city shows live who is where, who types and what was said', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.shows('.total', /2\s*людини у місті/);
  await taras.openRoom('general');
  const general = (await server.request('/api/city/rooms/general')).name;
  const card = olena.card(general);
  await card.getByText('1 онлайн').waitFor();
  assert.equal(await card.locator('.window-lit').count(), 1);
  await taras.page.getByLabel('Повідомлення').pressSequentially('Ось');
  await card.getByText('Тарас пише…').or(card.getByText('1 пише…')).waitFor();
  await card.locator('.window-typing').waitFor();
  await taras.page.getByLabel('Повідомлення').press('Enter');
  await card.getByText('Ось').waitFor();
  await until('nobody types', async () => (await card.locator('.window-typing').count()) === 0);
  await olena.shows('.feed-line', /Тарас.*Ось/);
  await taras.context.close();
  await card.getByText('0 онлайн').waitFor();
  await olena.shows('.total', /1\s*людина у місті/);
  await olena.leave();
});

test('a passer-by sees rooms, live counts and history, and enters where they stand', async () => {
  const passer = await Visitor.arrive(browser, server);
  await passer.page.goto('/');
  await passer.page.waitForURL('**/city');
  await passer.shows('.total', /людей у місті/);
  const olena = await Visitor.enter(browser, server, 'Олена');
  await passer.shows('.total', /1\s*людина у місті/);
  await olena.openRoom('welcome');
  await olena.say('Заходьте!');
  await passer.page.goto('/city/welcome');
  await passer.hears('Заходьте!');
  await olena.say('Не соромтеся');
  await passer.hears('Не соромтеся');
  await olena.page.getByLabel('Повідомлення').pressSequentially('Чаю');
  await passer.shows('.typing-line', /^1 пише…$/); // names are for those who have entered
  await passer.page.getByLabel('Щоб говорити тут').fill('Перехожа');
  await passer.page.getByRole('main').getByRole('button', { name: 'Увійти' }).click();
  await passer.page.getByLabel('Повідомлення').waitFor();
  await passer.say('Дякую');
  await olena.hears('Дякую');
  await passer.leave();
  await olena.leave();
});

test('a new room is built, opened, and stands in everybody’s street', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.page.getByRole('button', { name: 'Нова кімната' }).click();
  const dialog = olena.page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Збудувати' }).click();
  await dialog.getByText('Це потрібно заповнити.').waitFor();
  await dialog.getByLabel('Назва').fill('Вечірня кав’ярня');
  await dialog.getByLabel('Про що тут говорять').fill('Кава і дощ');
  await dialog.getByRole('button', { name: 'Збудувати' }).click();
  await olena.page.waitForURL(/\/city\/[a-z0-9-]+$/);
  await olena.page.getByRole('heading', { name: 'Вечірня кав’ярня' }).waitFor();
  await olena.page.getByText('Тут ще тихо').waitFor();
  await taras.card('Вечірня кав’ярня').getByText('Кава і дощ').waitFor();
  await taras.shows('.feed-line', /Нова кімната: Вечірня кав’ярня/);
  await olena.leave();
  await taras.leave();
});

test('a token that is not accepted asks quietly to enter again, with the name filled in', async () => {
  const olena = await Visitor.arrive(browser, server);
  await olena.page.goto('/city');
  await olena.page.evaluate(() =>
    localStorage.setItem(
      'daarion.session',
      JSON.stringify({ token: 'not.a.token', id: 'u_1', name: 'Олена' }),
    ),
  );
  await olena.page.goto('/city/general');
  await olena.page.getByText('Вхід застарів. Увійдіть ще раз:').waitFor();
  const field = olena.page.getByRole('textbox');
  assert.equal(await field.inputValue(), 'Олена');
  await olena.page.getByRole('main').getByRole('button', { name: 'Увійти' }).click();
  await olena.page.getByLabel('Повідомлення').waitFor();
  await olena.say('Я знову тут');
  await until('it is sent', async () => (await olena.waiting()).length === 0);
  await olena.leave();
});

test('a page that is closed says so; loaded again, nobody sees it go', async (t) => {
  const loud = await Server.start({ LOG_LEVEL: 'debug' });
  t.after(() => loud.stop());
  // The browser tells nobody of requests that outlive their page: the server does.
  const said = () =>
    loud.log.split('\n').filter((line) => line.includes('"/api/city/presence/leave"')).length;
  const taras = await Visitor.enter(browser, loud, 'Тарас');
  const olena = await Visitor.enter(browser, loud, 'Олена');
  await taras.shows('.total', /2\s*людини у місті/);
  await taras.page.evaluate(() => {
    const total = document.querySelector('.total');
    window.totals = [];
    new MutationObserver(() => window.totals.push(total.textContent)).observe(total, {
      subtree: true,
      childList: true,
      characterData: true,
    });
  });
  const before = said();
  await olena.page.reload();
  await olena.shows('.total', /2\s*людини у місті/);
  await until('the page that was loaded again has said that it goes', () => said() === before + 1);
  await olena.page.close({ runBeforeUnload: true });
  await until('the page that is closed has said so', () => said() === before + 2);
  await taras.shows('.total', /1\s*людина у місті/); // after the grace
  const totals = await taras.page.evaluate(() => window.totals);
  assert.equal(totals.filter((text) => /^\D*1\D/.test(text)).length, 1, JSON.stringify(totals));
  await olena.leave();
  await taras.leave();
});

test('the city is walked by keyboard alone', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const { page } = olena;
  await page.locator('.street a').first().waitFor();
  await page.keyboard.press('Tab');
  const focused = () => page.evaluate(() => document.activeElement?.textContent ?? '');
  await until('the skyline has the focus', async () => {
    if (await page.evaluate(() => document.activeElement?.closest('.street') !== null)) return true;
    await page.keyboard.press('Tab');
    return false;
  });
  const first = await focused();
  await page.keyboard.press('ArrowRight');
  assert.notEqual(await focused(), first);
  const target = await page.evaluate(() => document.activeElement?.getAttribute('href'));
  await page.keyboard.press('Enter');
  await page.waitForURL(`**${target}`);
  await olena.leave();
});

test('the language and the theme are switched, and remembered', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена', { theme: 'night' });
  const { page } = olena;
  const root = () =>
    page.evaluate(() => [document.documentElement.lang, document.documentElement.dataset.theme]);
  assert.deepEqual(await root(), ['uk', 'night']);
  await page.getByRole('button', { name: 'Switch to English' }).click();
  await page.getByRole('heading', { name: 'Rooms' }).waitFor();
  await page.getByRole('button', { name: 'Switch to the day theme' }).click();
  await page.reload();
  await page.getByRole('heading', { name: 'Rooms' }).waitFor();
  assert.deepEqual(await root(), ['en', 'day']);
  await olena.leave();
});
