import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, until, Visitor } from './browser.mjs';
import { Server } from './server.mjs';

let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), true, 'the server ends well');
});

test('two guests enter and talk to each other live', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.openRoom('general');
  await taras.openRoom('general');
  await until('both see both', async () => (await olena.peopleHere()) === 2);
  await olena.say('Добрий вечір!');
  await taras.hears('Добрий вечір!');
  await taras.say('І вам доброго');
  await olena.hears('І вам доброго');
  await until('nothing waits any more', async () => (await olena.waiting()).length === 0);
  assert.deepEqual(await olena.words(), ['Добрий вечір!', 'І вам доброго']);
  assert.deepEqual(await taras.words(), ['Добрий вечір!', 'І вам доброго']);
  assert.equal(await olena.page.locator('.group-own').count(), 1);
  await olena.leave();
  await taras.leave();
});

test('typing shows while it lasts and ends with sending', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.openRoom('welcome');
  await taras.openRoom('welcome');
  await olena.page.getByLabel('Повідомлення').pressSequentially('Зараз');
  await taras.shows('.typing-line', /^Олена пише…$/);
  await olena.page.getByLabel('Повідомлення').press('Enter');
  await taras.hears('Зараз');
  await taras.shows('.typing-line', /^$/);
  await olena.leave();
  await taras.leave();
});

test('a reload keeps the person, the room and the unfinished words', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom('builders');
  await olena.say('До перезавантаження');
  await until('it is sent', async () => (await olena.waiting()).length === 0);
  await olena.page.getByLabel('Повідомлення').fill('недописане');
  await olena.page.reload();
  await olena.hears('До перезавантаження');
  assert.equal(await olena.page.getByLabel('Повідомлення').inputValue(), 'недописане');
  assert.equal(await olena.page.locator('.bar-name-text').textContent(), 'Олена');
  assert.equal((await olena.words()).length, 1);
  await olena.leave();
});

test('Shift+Enter breaks the line, Enter sends, and text is never markup', async () => {
  const room = await newRoom('Рядки');
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom(room.slug);
  const field = olena.page.getByLabel('Повідомлення');
  await field.pressSequentially('<img src=x onerror=alert(1)>');
  await field.press('Shift+Enter');
  await field.pressSequentially('https://daarion.example/шлях, так');
  await field.press('Enter');
  await olena.hears('https://daarion.example');
  assert.deepEqual(await olena.words(), [
    '<img src=x onerror=alert(1)>\nhttps://daarion.example/шлях, так',
  ]);
  assert.equal(await olena.page.locator('.line-words img').count(), 0);
  const link = olena.page.locator('.line-words a');
  assert.equal(await link.textContent(), 'https://daarion.example/шлях');
  assert.match(await link.getAttribute('rel'), /noopener/);
  await olena.leave();
});

test('older pages load when scrolling up, and the place on the page is kept', async () => {
  const room = await newRoom('Довга розмова');
  const author = await server.guest('Літописець');
  for (let n = 1; n <= 130; n += 1) await server.say(author, room.slug, `запис ${n}.`);
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom(room.slug);
  await olena.hears('запис 130.');
  const scroller = olena.page.locator('.talk-scroll');
  await until('the first page is on the screen, at its end', async () => {
    const end = await scroller.evaluate((e) => e.scrollHeight - e.scrollTop - e.clientHeight);
    return end < 2;
  });
  // One step up, to the words that stay where they are while older ones come above them.
  const anchor = olena.page.locator('.line-words', { hasText: 'запис 81.' });
  const before = await anchor.evaluate((element) => {
    element.closest('.talk-scroll').scrollTo(0, 200);
    return element.getBoundingClientRect().top;
  });
  await until('older pages are here', async () => (await olena.words()).length >= 100);
  const afterwards = await anchor.evaluate((element) => element.getBoundingClientRect().top);
  assert.ok(Math.abs(afterwards - before) < 3, `moved from ${before} to ${afterwards}`);
  await until('the beginning of the room is reached', async () => {
    await scroller.evaluate((element) => element.scrollTo(0, 0));
    return (await olena.words()).length === 130;
  });
  const words = await olena.words();
  assert.deepEqual(
    words,
    Array.from({ length: 130 }, (_, n) => `запис ${n + 1}.`),
  );
  await olena.shows('.talk-top', /Звідси почалася/);
  await olena.leave();
});

test('reading above, one is told of new words and can jump to them', async () => {
  const room = await newRoom('Гучна');
  const author = await server.guest('Гучний');
  for (let n = 1; n <= 40; n += 1) await server.say(author, room.slug, `репліка ${n}.`);
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom(room.slug);
  await olena.hears('репліка 40.');
  await olena.page.locator('.talk-scroll').evaluate((element) => element.scrollTo(0, 0));
  await olena.page.getByRole('button', { name: 'До останнього' }).waitFor();
  await server.say(author, room.slug, 'нове раз.');
  await server.say(author, room.slug, 'нове два.');
  await olena.page.getByRole('button', { name: '2 нові повідомлення' }).click();
  await olena.page.locator('.unread').waitFor();
  const words = await olena.page.locator('.unread + .group .line-words').allTextContents();
  assert.deepEqual(words, ['нове раз.', 'нове два.']);
  await until('the button is gone at the end', async () => {
    return (await olena.page.locator('.to-latest').count()) === 0;
  });
  await olena.leave();
});

test('a message over the limit cannot be sent and says by how much', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.openRoom('general');
  const field = olena.page.getByLabel('Повідомлення');
  await field.fill('я'.repeat(9_999));
  await olena.shows('.composer-hint', /^ще 1 знак$/);
  await field.fill('я'.repeat(10_002));
  await olena.shows('.composer-hint', /^2 знаки понад межу$/);
  assert.equal(await olena.page.getByRole('button', { name: 'Надіслати' }).isDisabled(), true);
  await olena.leave();
});

test('after five minutes without a touch the window dims, and the first touch lights it', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.page.clock.install();
  await olena.openRoom('builders');
  await taras.openRoom('builders');
  await until('both are here', async () => (await taras.peopleHere()) === 2);
  await olena.page.clock.fastForward('05:01');
  await taras.page.locator('.people-list').getByText('не біля екрана').waitFor();
  assert.equal(await taras.page.locator('.people-list .person-dim').count(), 1);
  await olena.page.mouse.move(200, 200);
  await olena.page.clock.fastForward('00:02');
  await olena.page.mouse.move(220, 220);
  await until('nobody is away', async () => {
    return (await taras.page.locator('.people-list .person-dim').count()) === 0;
  });
  await olena.leave();
  await taras.leave();
});

async function newRoom(name) {
  const builder = await server.guest('Будівничий');
  return server.request('/api/city/rooms', { token: builder.token, name });
}
