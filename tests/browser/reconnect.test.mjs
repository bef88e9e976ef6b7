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

async function bodies(room) {
  return (await server.history(room)).map((message) => message.body);
}

test('the server is killed and comes back: everybody is connected again and nothing is lost', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.openRoom('general');
  await taras.openRoom('general');
  await olena.say('до');
  await taras.hears('до');

  await server.kill();
  await olena.shows('.link-line', /Зв’язок перервався/);
  await olena.say('під час');
  await taras.say('теж під час');
  assert.deepEqual(await olena.waiting(), ['під час']);
  await olena.hears('до');

  await server.up();
  await taras.hears('під час');
  await olena.hears('теж під час');
  await olena.say('після');
  await taras.hears('після');
  await until('the quiet line is gone', async () => {
    return (await olena.page.locator('.link-line').textContent()) === '';
  });
  await until('nothing waits', async () => (await olena.waiting()).length === 0);
  const stored = await bodies('general');
  assert.deepEqual([...stored].sort(), ['до', 'після', 'під час', 'теж під час'].sort());
  await until('both pages show what is stored', async () => {
    const pages = [await olena.words(), await taras.words()];
    return pages.every((words) => JSON.stringify(words) === JSON.stringify(stored));
  });
  await olena.leave();
  await taras.leave();
});

test('the city reconnects by itself too', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.shows('.total', /1\s*людина у місті/);
  await server.kill();
  await olena.shows('.link-line', /Зв’язок перервався/);
  await server.up();
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.shows('.total', /2\s*людини у місті/);
  await olena.leave();
  await taras.leave();
});

test('words said without a network wait with a clock and arrive once', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  const taras = await Visitor.enter(browser, server, 'Тарас');
  await olena.openRoom('welcome');
  await taras.openRoom('welcome');
  await olena.context.setOffline(true);
  await olena.shows('.link-line', /Немає мережі/);
  await olena.say('з метро');
  await olena.page.locator('.line-pending').getByText('Чекає на зв’язок').waitFor();
  await taras.say('поки тебе нема');
  await taras.hears('поки тебе нема');
  await olena.context.setOffline(false);
  await taras.hears('з метро');
  await olena.hears('поки тебе нема');
  await until('nothing waits', async () => (await olena.waiting()).length === 0);
  assert.deepEqual(await bodies('welcome'), ['поки тебе нема', 'з метро']);
  assert.deepEqual(await olena.words(), ['поки тебе нема', 'з метро']);
  await olena.leave();
  await taras.leave();
});

test('an acknowledgement that is lost on the way does not double the message', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  let lost = 0;
  await olena.context.routeWebSocket(/\/ws\/city\/rooms\//, (line) => {
    const far = line.connectToServer();
    line.onMessage((frame) => far.send(frame));
    far.onMessage((frame) => {
      // The line dies after the server has stored the words and before it can say so.
      if (lost === 0 && /"room\.message(\.ack)?"/.test(String(frame))) {
        lost += 1;
        far.close();
        line.close({ code: 1013 });
        return;
      }
      if (lost > 0 || !/"room\.message/.test(String(frame))) line.send(frame);
    });
  });
  await olena.openRoom('builders');
  await olena.say('рівно один раз');
  await until('it is acknowledged', async () => {
    return lost === 1 && (await olena.waiting()).length === 0;
  });
  assert.deepEqual(await bodies('builders'), ['рівно один раз']);
  assert.deepEqual(await olena.words(), ['рівно один раз']);
  await olena.leave();
});

test('unsent words survive a reload of the page', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  let blocked = true;
  await olena.context.routeWebSocket(/\/ws\/city\/rooms\//, (line) => {
    if (blocked) line.close({ code: 1013 });
    else line.connectToServer();
  });
  await olena.page.goto('/city/general');
  await olena.say('переживу перезавантаження');
  assert.deepEqual(await olena.waiting(), ['переживу перезавантаження']);
  await olena.page.reload();
  await until('they are still there', async () => (await olena.waiting()).length === 1);
  blocked = false;
  await until('they are sent', async () => (await olena.waiting()).length === 0);
  const stored = await bodies('general');
  assert.equal(stored.filter((body) => body === 'переживу перезавантаження').length, 1);
  await olena.leave();
});

test('a refused message stays with its reason, can be sent again or removed', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  let refuse = true;
  await olena.context.routeWebSocket(/\/ws\/city\/rooms\//, (line) => {
    const far = line.connectToServer();
    far.onMessage((frame) => line.send(frame));
    line.onMessage((text) => {
      const frame = JSON.parse(String(text));
      if (!refuse || frame.event !== 'room.message.send') return far.send(text);
      const { idempotency_key } = frame;
      line.send(
        JSON.stringify({
          event: 'error',
          error: 'forbidden',
          detail: 'no',
          message: 'no',
          idempotency_key,
          epoch: 'x',
          offset: 0,
        }),
      );
    });
  });
  const builder = await server.guest('Будівничий');
  const room = await server.request('/api/city/rooms', { token: builder.token, name: 'Сувора' });
  await olena.openRoom(room.slug);
  await olena.say('раз');
  await olena.page.getByText('Не надіслано. На це немає дозволу.').waitFor();
  refuse = false;
  await olena.page.getByRole('button', { name: 'Надіслати ще раз' }).click();
  await until('it is sent', async () => (await olena.waiting()).length === 0);
  assert.deepEqual(await bodies(room.slug), ['раз']);
  refuse = true;
  await olena.say('два');
  await olena.page.getByRole('button', { name: 'Прибрати' }).click();
  await until('it is gone', async () => (await olena.words()).length === 1);
  await olena.leave();
});

test('a message that is lost on the wire is fetched when the next one shows the hole', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  await olena.context.routeWebSocket(/\/ws\/city\/rooms\//, (line) => {
    const far = line.connectToServer();
    line.onMessage((frame) => far.send(frame));
    far.onMessage((frame) => {
      if (!String(frame).includes('"загублене"')) line.send(frame);
    });
  });
  const author = await server.guest('Автор');
  const room = await server.request('/api/city/rooms', { token: author.token, name: 'Дірява' });
  await olena.openRoom(room.slug);
  for (const body of ['перше', 'загублене', 'третє']) await server.say(author, room.slug, body);
  await until('the hole is filled', async () => {
    return (await olena.words()).join() === 'перше,загублене,третє';
  });
  await olena.leave();
});

test('who missed more than a page gets all of it, in order', async () => {
  const olena = await Visitor.enter(browser, server, 'Олена');
  let blocked = false;
  await olena.context.routeWebSocket(/\/ws\/city\/rooms\//, (line) => {
    if (blocked) line.close({ code: 1013 });
    else line.connectToServer();
  });
  const author = await server.guest('Літописець');
  const room = await server.request('/api/city/rooms', { token: author.token, name: 'Бурхлива' });
  await olena.openRoom(room.slug);
  await server.say(author, room.slug, 'запис 0');
  await olena.hears('запис 0');
  blocked = true;
  // Another life of the server: the old position means nothing to it, and the page has to ask.
  await server.kill();
  await server.up();
  for (let n = 1; n <= 230; n += 1) await server.say(author, room.slug, `запис ${n}`);
  blocked = false;
  await until('everything is on the page', async () => (await olena.words()).length === 231);
  assert.deepEqual(
    await olena.words(),
    Array.from({ length: 231 }, (_, n) => `запис ${n}`),
  );
  await olena.leave();
});
