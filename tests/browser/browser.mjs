/** Browsers of the people in a test, and what they do and see. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SCREENSHOTS = process.env.SCREENSHOTS;
const PATIENCE_MS = 20_000;

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launch() {
  return chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
}

/** Waits for a condition, as long as a patient person would. */
export async function until(what, condition, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) assert.fail(`waited in vain until ${what}; last seen: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * A person with a browser of their own. Faults of the page are collected: a test that ends with
 * `leave()` fails if the page threw or broke its content security policy.
 */
export class Visitor {
  static async arrive(browser, server, { theme = 'night', width = 1280, height = 860 } = {}) {
    const visitor = new Visitor();
    visitor.server = server;
    visitor.faults = [];
    visitor.context = await browser.newContext({
      baseURL: server.url,
      viewport: { width, height },
      colorScheme: theme === 'night' ? 'dark' : 'light',
    });
    visitor.page = await visitor.context.newPage();
    visitor.page.setDefaultTimeout(PATIENCE_MS);
    await visitor.page.addInitScript((chosen) => {
      if (localStorage.getItem('daarion.theme') === null) {
        localStorage.setItem('daarion.theme', chosen);
      }
    }, theme);
    visitor.page.on('pageerror', (error) => visitor.faults.push(String(error)));
    visitor.page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) visitor.faults.push(message.text());
    });
    return visitor;
  }

  /** Somebody who has entered by the page of entering. */
  static async enter(browser, server, name, options) {
    const visitor = await Visitor.arrive(browser, server, options);
    await visitor.page.goto('/login');
    await visitor.page.getByLabel('Ваше ім’я').fill(name);
    await visitor.page.getByRole('main').getByRole('button', { name: 'Увійти' }).click();
    await visitor.page.waitForURL('**/city');
    return visitor;
  }

  async leave() {
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }

  /** Opens a room and waits until its line is up. */
  async openRoom(slug) {
    await this.page.goto(`/city/${slug}`);
    await this.page.getByLabel('Повідомлення').waitFor();
    await until('the person sees themselves in the room', () => this.peopleHere());
  }

  async peopleHere() {
    return (await this.page.locator('.people-list .people-name').allTextContents()).length;
  }

  async say(body) {
    const field = this.page.getByLabel('Повідомлення');
    await field.fill(body);
    await field.press('Enter');
  }

  /** What is on the page, in order: said by others and by oneself, sent or not. */
  words() {
    return this.page.locator('.line-words').allTextContents();
  }

  waiting() {
    return this.page.locator('.line-waiting .line-words').allTextContents();
  }

  async hears(body) {
    await this.page.locator('.line-words', { hasText: body }).first().waitFor();
  }

  card(name) {
    return this.page.locator('.card', {
      has: this.page.getByRole('heading', { name, exact: true }),
    });
  }

  async shows(selector, pattern) {
    await until(`${selector} says ${pattern}`, async () =>
      pattern.test((await this.page.locator(selector).first().textContent()) ?? ''),
    );
  }

  async sidewaysScroll() {
    return this.page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth - clientWidth;
    });
  }

  /** Serious and critical findings; animations are over first, so that colours are the final ones. */
  async accessibilityFaults() {
    await this.page.evaluate(() =>
      Promise.all(
        document
          .getAnimations()
          .filter((animation) => animation.effect?.getTiming().iterations !== Infinity)
          .map((animation) => animation.finished.catch(() => {})), // cancelled is over, too
      ),
    );
    const { violations } = await new AxeBuilder({ page: this.page })
      .options({ preload: false }) // would fetch style sheets a second time, with a deadline of its own
      .analyze();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`);
  }

  async screenshot(name) {
    if (SCREENSHOTS === undefined) return;
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }
}
