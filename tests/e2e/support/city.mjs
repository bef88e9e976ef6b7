// What nearly every test file begins with: one server for the file, a client, and people.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { Client } from './http.mjs';
import { hasReplicas, INTERNAL_KEY, startServer } from './server.mjs';
import { openPresence } from './sockets.mjs';
import { makeUser } from './tokens.mjs';

/**
 * Starts a server before the tests of the calling file or suite and removes it after them. The object
 * returned is filled in by then: server, api (public, nobody), internal.
 */
export function useCity(env = {}) {
  const city = {};
  before(async () => {
    city.server = await startServer(env);
    city.api = new Client(city.server.publicUrl);
    city.internal = new Client(city.server.internalUrl);
  });
  after(() => city.server?.remove());
  return city;
}

/** A user with a client: {id, name, token, api}. */
export function person(city, name = 'Тестова Людина') {
  const user = makeUser(name);
  user.api = city.api.as(user);
  return user;
}

let rooms = 0;

/** A room that only the calling test uses. */
export async function newRoom(city, user, more = {}) {
  rooms += 1;
  return user.api.createRoom(`Кімната ${rooms}`, { slug: `test-${process.pid}-${rooms}`, ...more });
}

export const internalHeaders = { 'X-Internal-API-Key': INTERNAL_KEY };

/** Ends sockets after a test, also when it failed; a frame that broke the contract fails it. */
export function closing(t, ...sockets) {
  t.after(() => {
    for (const socket of sockets) {
      (socket.terminate ?? socket.destroy).call(socket);
    }
    const broken = sockets.find((socket) => socket.failure);
    if (broken) {
      throw broken.failure;
    }
  });
}

const SETTLE_MS = 8_000;

/**
 * Looks until look() does not throw. One process knows at once what it has answered for, so there it looks once; a
 * replica hears from the others a moment later.
 */
export async function settled(look) {
  for (const deadline = performance.now() + (hasReplicas ? SETTLE_MS : 0); ;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() >= deadline) {
        throw error;
      }
      await new Promise(setImmediate); // what a socket hears comes in between
    }
  }
}

/** The frames of a schema that a socket has got when it has all that was said: count of them, no more. */
export async function framesOf(socket, name, count) {
  await socket.barrier();
  await settled(() => assert.ok(socket.all(name).length >= count, `${socket.all(name).length} ${name}`));
  await socket.barrier();
  assert.equal(socket.all(name).length, count);
  return socket.all(name);
}

/**
 * Waits until the counts of a room that the city has published fit. Counts are published at most once
 * in a window, so lists and details may be behind the sockets of the room by so much.
 */
export async function untilCounts(city, room, fits) {
  await Promise.all((city.server.replicas ?? [city.server]).map(async (server) => {
    const socket = await openPresence(server, makeUser(), { mode: 'rooms' });
    try {
      await socket.nextFrame((frame) => {
        const counts = frame.type === 'snapshot'
          ? frame.rooms.find((entry) => entry.room_id === room.id)
          : frame;
        return counts?.room_id === room.id && fits(counts);
      });
    } finally {
      socket.terminate();
    }
  }));
}

/** The same for the number of people alone. */
export function untilOnline(city, room, count) {
  return untilCounts(city, room, (counts) => counts.online_count === count);
}
