// What a second replica of city-service is worth: the same crowd and the same messages with one and
// with two processes over PostgreSQL, NATS and Redis. On a machine of two cores the clients need one
// of them, so nothing is saturated; what counts is the CPU that the busiest replica spends on a
// delivered message (from /proc), and so how many it could deliver with a core of its own.
//
//   script/with-postgres node bench/replicas.mjs [SOCKETS] [MESSAGES]     DAARION_BIN=build/daarion
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { Stack } from '../tests/fault/support/stack.mjs';
import { makeUser } from '../tests/e2e/support/tokens.mjs';

const SOCKETS = Number(process.argv[2] ?? 2000);
const MESSAGES = Number(process.argv[3] ?? 300);
const PAUSE_MS = 25;
const TICKS_PER_S = 100; // USER_HZ
const BODY = 'Привіт, місто! '.repeat(4);

function cpuSeconds(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** A room socket that counts the messages it gets, without parsing anything else. */
async function listener(server, slug, counter) {
  const socket = net.connect(server.publicPort, '127.0.0.1');
  socket.write(`GET /ws/city/rooms/${slug}?token=${makeUser().token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n`
    + 'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n');
  await once(socket, 'data');
  const mark = Buffer.from('"room.message"');
  socket.on('data', (data) => {
    for (let at = data.indexOf(mark); at >= 0; at = data.indexOf(mark, at + mark.length)) {
      counter.heard += 1;
    }
  });
  return socket;
}

async function measure(replicas) {
  const stack = await Stack.open({ env: { PRESENCE_LEASE_MS: 600000, WS_PING_INTERVAL_MS: 300000, WS_IDLE_TIMEOUT_MS: 600000, LIMIT_CONNECTIONS_PER_ADDRESS: 0 } });
  const cities = stack.cities.slice(0, replicas);
  const sockets = [];
  const counter = { heard: 0 };
  try {
    const user = makeUser();
    const slug = 'replicas';
    await stack.client(0, user).createRoom('Репліки', { slug });
    for (let i = 0; i < SOCKETS; i += 1) {
      sockets.push(await listener(cities[i % replicas], slug, counter));
    }
    const writer = stack.client(0, user);
    const before = cities.map((server) => cpuSeconds(server.pid));
    const startedAt = performance.now();
    for (let i = 0; i < MESSAGES; i += 1) {
      await writer.say(slug, `${BODY}${i}`);
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
    }
    for (let waited = 0; counter.heard < SOCKETS * MESSAGES && waited < 10000; waited += 50) {
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    const seconds = (performance.now() - startedAt) / 1000;
    const spent = cities.map((server, i) => cpuSeconds(server.pid) - before[i]);
    const busiest = Math.max(...spent);
    return {
      replicas,
      delivered: counter.heard,
      expected: SOCKETS * MESSAGES,
      per_second: Math.round(counter.heard / seconds),
      cpu_s: spent.map((s) => Number(s.toFixed(2))),
      capacity_per_s: Math.round(counter.heard / busiest),
    };
  } finally {
    sockets.forEach((socket) => socket.destroy());
    await stack.remove();
  }
}

const one = await measure(1);
const two = await measure(2);
console.log(JSON.stringify(one));
console.log(JSON.stringify(two));
console.log(`two replicas deliver ${(two.capacity_per_s / one.capacity_per_s).toFixed(2)} times what one does, each with a core of its own`);
