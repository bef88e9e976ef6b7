// matrix-js-sdk, which Element is made of, as people's Matrix client.
import { once } from 'node:events';
import * as sdk from 'matrix-js-sdk';
import { until } from './until.mjs';

// It tells the console everything that it does.
for (const level of ['trace', 'debug', 'log', 'info', 'warn', 'error']) {
  console[level] = () => {};
}

const clients = [];

/** A client that listens, as soon as it knows the rooms of its user. */
export async function openMatrixClient(synapse, userId, accessToken, deviceId) {
  const client = sdk.createClient({ baseUrl: synapse.url, accessToken, userId, deviceId });
  clients.push(client);
  client.heard = new Map(); // room -> Map of [sender, body] by event id, in the order of arrival
  const hear = (event) => {
    if (event.getType() === 'm.room.message' && event.getId().startsWith('$')) { // no local echo
      const heard = client.heard.get(event.getRoomId()) ?? new Map();
      if (!heard.has(event.getId())) {
        client.heard.set(event.getRoomId(), heard.set(event.getId(), [event.getSender(), event.getContent().body]));
      }
      client.emit('heard');
    }
  };
  client.on(sdk.RoomEvent.Timeline, hear);
  client.on(sdk.RoomEvent.LocalEchoUpdated, hear);
  await client.startClient({ initialSyncLimit: 100 });
  while (client.getSyncState() !== 'PREPARED' && client.getSyncState() !== 'SYNCING') {
    await once(client, sdk.ClientEvent.Sync);
  }
  return client;
}

function untilHeardIn(client, room, what, fits) {
  const heard = () => [...(client.heard.get(room.matrix_room_id)?.values() ?? [])];
  const next = () => once(client, 'heard', { signal: AbortSignal.timeout(1000) }).catch(() => {});
  return until(what, heard, fits, { next });
}

/** Until the client has heard so many messages in the room: [sender, body]. */
export function untilHeard(client, room, count) {
  return untilHeardIn(client, room, `${count} messages heard`, ({ length }) => length >= count);
}

/** Until the client has heard this. */
export function untilHears(client, room, body) {
  return untilHeardIn(client, room, `"${body}" heard`, (heard) => heard.some((entry) => entry[1] === body));
}

export function closeMatrixClients() {
  for (const client of clients) {
    client.stopClient();
  }
  setTimeout(() => process.exit(), 2000).unref(); // it keeps timers of up to a minute
}
