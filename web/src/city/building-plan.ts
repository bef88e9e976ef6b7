/**
 * How the building of a room looks. Drawn from its slug alone, so that a room has the same house on
 * every page and every machine; it only grows storeys when more people are in than it has windows.
 * Units are abstract: the drawing is scaled to where it stands. Pure.
 */
import type { Light } from '../presence/city-state';

export type Roof = 'flat' | 'antenna' | 'gable' | 'steps' | 'dome' | 'tank' | 'mansard';
export type Lamp = 'dark' | 'lit' | 'dim' | 'typing';

export interface Window {
  x: number;
  y: number;
  /** Lamps differ a little in warmth, as they do. */
  warmth: 0 | 1 | 2;
}

export interface BuildingPlan {
  columns: number;
  floors: number;
  width: number;
  /** Wall only; the roof stands above it. */
  height: number;
  roof: Roof;
  roofHeight: number;
  tone: 0 | 1 | 2 | 3 | 4;
  windows: readonly Window[];
  /** In which order windows are lit: indices into `windows`. */
  order: readonly number[];
  doorX: number;
}

export const WINDOW_WIDTH = 8;
export const WINDOW_HEIGHT = 10;
export const DOOR_WIDTH = 8;
export const DOOR_HEIGHT = 11;
const GAP_X = 5;
const GAP_Y = 6;
const MARGIN = 7;
const TOP = 8;
const GROUND_FLOOR = 17;
const MAX_FLOORS = 15;
const ROOFS: readonly [Roof, number][] = [
  ['flat', 4],
  ['antenna', 26],
  ['gable', 18],
  ['steps', 18],
  ['dome', 24],
  ['tank', 20],
  ['mansard', 13],
];

/** FNV-1a: small, the same everywhere, and good enough for looks. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  }
  return value >>> 0;
}

/** Mulberry32: a repeatable stream of numbers in [0, 1). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function below(next: () => number, limit: number): number {
  return Math.floor(next() * limit);
}

export function planBuilding(slug: string, people: number): BuildingPlan {
  const next = numbers(hash(slug));
  const columns = 3 + below(next, 3);
  const ownFloors = 4 + below(next, 6);
  const [roof, roofHeight] = ROOFS[below(next, ROOFS.length)] ?? ['flat', 4];
  const tone = below(next, 5) as BuildingPlan['tone'];
  const doorColumn = below(next, columns);
  // A full house still has a dark window here and there.
  const wanted = Math.ceil((people * 1.5) / columns);
  const floors = Math.max(ownFloors, Math.min(MAX_FLOORS, wanted));
  const windows: Window[] = [];
  for (let floor = 0; floor < floors; floor += 1) {
    for (let column = 0; column < columns; column += 1) {
      windows.push({
        x: MARGIN + column * (WINDOW_WIDTH + GAP_X),
        y: TOP + floor * (WINDOW_HEIGHT + GAP_Y),
        warmth: below(next, 3) as Window['warmth'],
      });
    }
  }
  const order = windows.map((_, index) => index);
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = below(next, i + 1);
    const a = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = a;
  }
  return {
    columns,
    floors,
    width: 2 * MARGIN + columns * WINDOW_WIDTH + (columns - 1) * GAP_X,
    height: TOP + floors * (WINDOW_HEIGHT + GAP_Y) + GROUND_FLOOR - GAP_Y,
    roof,
    roofHeight,
    tone,
    windows,
    order,
    doorX: MARGIN + doorColumn * (WINDOW_WIDTH + GAP_X),
  };
}

/** Which window burns how: a lit window is a person, a dim one is a person who is away. */
export function lampsOf(plan: BuildingPlan, light: Light): Lamp[] {
  const capacity = plan.windows.length;
  const crowd = Math.max(light.online, 0);
  const share = crowd > capacity ? capacity / crowd : 1;
  const dim = Math.min(Math.floor(Math.min(light.away, crowd) * share), capacity);
  const lit = Math.min(crowd, capacity) - dim;
  const typing = Math.min(light.typing, lit);
  const lamps = Array.from({ length: capacity }, (): Lamp => 'dark');
  plan.order.forEach((window, rank) => {
    if (rank < typing) lamps[window] = 'typing';
    else if (rank < lit) lamps[window] = 'lit';
    else if (rank < lit + dim) lamps[window] = 'dim';
  });
  return lamps;
}

/** How strongly a room glows, 0 (dark) to 3 (the liveliest). */
export function glowOf(light: Light): 0 | 1 | 2 | 3 {
  if (light.online <= 0) return 0;
  if (light.online < 4) return 1;
  return light.online < 10 ? 2 : 3;
}
