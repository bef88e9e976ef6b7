import { expect, test } from 'vitest';
import { glowOf, lampsOf, planBuilding } from './building-plan';

const light = (online: number, away = 0, typing = 0) => ({ online, away, typing, typingUsers: [] });

function tally(lamps: readonly string[]) {
  const sum = { dark: 0, lit: 0, dim: 0, typing: 0 };
  for (const lamp of lamps) sum[lamp as keyof typeof sum] += 1;
  return sum;
}

test('a room has the same house every time', () => {
  expect(planBuilding('kavarnia', 3)).toEqual(planBuilding('kavarnia', 3));
});

test('houses differ from each other', () => {
  const shapes = new Set(
    ['general', 'welcome', 'builders', 'nauka', 'muzyka', 'podil', 'sad', 'knyhy'].map((slug) => {
      const { columns, floors, roof, tone } = planBuilding(slug, 0);
      return `${columns}${floors}${roof}${tone}`;
    }),
  );
  expect(shapes.size).toBeGreaterThan(5);
});

test('a house never changes its width, and storeys are added only when people need them', () => {
  const empty = planBuilding('podil', 0);
  const some = planBuilding('podil', 3);
  const crowd = planBuilding('podil', 500);
  expect(some).toEqual(empty);
  expect(crowd.width).toBe(empty.width);
  expect(crowd.floors).toBeGreaterThan(empty.floors);
  expect(crowd.floors).toBeLessThanOrEqual(15);
});

test('growing keeps the roof, the tone and the door', () => {
  const { roof, tone, doorX } = planBuilding('sad', 0);
  expect(planBuilding('sad', 60)).toMatchObject({ roof, tone, doorX });
});

test('every window is lit in its turn exactly once', () => {
  const plan = planBuilding('general', 0);
  expect([...plan.order].sort((a, b) => a - b)).toEqual(plan.windows.map((_, i) => i));
});

test('one person is one window: lit, dim when away, warm when typing', () => {
  const plan = planBuilding('general', 6);
  const lamps = tally(lampsOf(plan, light(6, 2, 1)));
  expect(lamps).toEqual({ lit: 3, dim: 2, typing: 1, dark: plan.windows.length - 6 });
});

test('somebody more lights one more window and moves nobody', () => {
  const plan = planBuilding('general', 4);
  const before = lampsOf(plan, light(4));
  const after = lampsOf(plan, light(5));
  before.forEach((lamp, i) => {
    if (lamp === 'lit') expect(after[i]).toBe('lit');
  });
  expect(tally(after).lit).toBe(5);
});

test('more people than windows: every window burns, the away ones keep their share', () => {
  const plan = planBuilding('general', 400);
  const lamps = tally(lampsOf(plan, light(400, 200)));
  expect(lamps.dark).toBe(0);
  expect(lamps.dim).toBe(Math.floor(plan.windows.length / 2));
});

test('counts that contradict each other do not break the drawing', () => {
  const plan = planBuilding('general', 1);
  expect(tally(lampsOf(plan, light(1, 5, 9)))).toMatchObject({ dim: 1, lit: 0, typing: 0 });
  expect(tally(lampsOf(plan, light(0, 0, 3))).dark).toBe(plan.windows.length);
});

test('glow grows with the crowd and is nothing for nobody', () => {
  expect([0, 1, 5, 50].map((n) => glowOf(light(n)))).toEqual([0, 1, 2, 3]);
});
