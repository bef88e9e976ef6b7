// Nothing that a homeserver pushes is left behind, and all of it comes in its place; tests/matrix/chat.test.mjs has
// the real one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ADA, bodies, counter, newRoom, push, pushed, pushFirst, text, untilCounter, useChat,
} from './support/chat.mjs';
import { person } from './support/city.mjs';
import { AS_TOKEN, SERVER_NAME } from './support/homeserver.mjs';
import { Client } from './support/http.mjs';
import { startServer } from './support/server.mjs';

describe('what the homeserver has left behind', () => {
  const rig = useChat({ MATRIX_CHECK_INTERVAL_MS: 600000 });

  test('is asked for, and comes in its place', async () => {
    const room = await newRoom(rig, person(rig));
    const ahead = 'daarion_matrix_transactions_total{outcome="ahead"}';
    const say = (body) => [text(rig, room, ADA, body)];
    const refused = async (events, id) => {
      const pings = rig.homeserver.asked(/ping/).length;
      const response = await push(rig, events, { id });
      assert.equal(response.status, 503);
      assert.equal(response.json.errcode, 'M_UNKNOWN');
      await rig.homeserver.waitFor(/ping/, pings + 1); // by which it tries again at once
    };
    const first = rig.homeserver.nextTransaction;
    await pushed(rig, say('перше'));
    const before = await counter(rig, ahead);
    const second = say('друге');
    const third = say('третє');
    await refused(third, first + 2);
    await pushed(rig, second, { id: first + 1 });
    await pushed(rig, third, { id: first + 2 });
    assert.deepEqual(await bodies(rig, room), ['перше', 'друге', 'третє']);
    const event = await rig.server.waitForEvent((entry) => entry.event === 'matrix.transaction_missing');
    assert.deepEqual([event.after, event.before], [first, first + 2]);
    // A number that never was is asked for once; and three times in a row are enough.
    const never = [say('a'), say('b'), say('c'), say('d')];
    for (const [i, events] of never.slice(0, 3).entries()) {
      await refused(events, first + 4 + 2 * i);
      await pushed(rig, events, { id: first + 4 + 2 * i });
    }
    await pushed(rig, never[3], { id: first + 10 });
    assert.deepEqual(await bodies(rig, room), ['перше', 'друге', 'третє', 'a', 'b', 'c', 'd']);
    assert.equal(await counter(rig, ahead) - before, 4);
  });
});

describe('a pulse', () => {
  const rig = useChat({ MATRIX_CHECK_INTERVAL_MS: 50 });
  const pulses = () => rig.homeserver.asked(/PUT .*send\/city\.daarion\.pulse/);
  const rooms = () => rig.homeserver.asked(/createRoom/).filter((call) => call.body.room_alias_name === 'city_.pulse');
  const inDoubt = (yes) => untilCounter(rig, 'daarion_matrix_push_in_doubt', (value) => value === yes);

  /** The next one that the gateway says to itself, as the homeserver pushes it. */
  async function nextPulse() {
    await rig.homeserver.waitFor(/PUT .*send\/city\.daarion\.pulse/, pulses().length + 1);
    const room = rig.homeserver.aliases.get(`#city_.pulse:${SERVER_NAME}`);
    return [rig.homeserver.events.get(room).at(-1)];
  }

  /** Something could not be taken, and then could. */
  async function fail() {
    assert.equal((await push(rig, null, { body: '{"events":[' })).status, 400);
    await pushed(rig, []);
  }

  async function settle() {
    const sure = inDoubt(0);
    await pushed(rig, await nextPulse());
    await sure;
  }

  test('is said after a start, in a room of the gateway\'s own, until one comes back in order', async () => {
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1);
    const first = await nextPulse();
    const { nextTransaction } = rig.homeserver;
    assert.equal((await push(rig, first, { id: nextTransaction + 1 })).status, 503); // something is missing
    await pushed(rig, [], { id: nextTransaction });
    await pushed(rig, first);
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1); // and may be missing again
    await settle();
    assert.equal(rooms().length, 1);
    assert.equal(rooms()[0].body.visibility, 'private');
    assert.equal(pulses().length, 2);
    assert.equal(pulses()[0].token, AS_TOKEN);
  });

  test('brings what was left behind when nobody speaks afterwards', async () => {
    const room = await newRoom(rig, person(rig));
    await fail();
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1);
    const left = [text(rig, room, ADA, 'останнє слово')];
    const { nextTransaction } = rig.homeserver;
    const pulse = await nextPulse();
    const pings = rig.homeserver.asked(/ping/).length;
    assert.equal((await push(rig, pulse, { id: nextTransaction + 1 })).status, 503);
    await rig.homeserver.waitFor(/ping/, pings + 1); // so the homeserver begins anew, in order
    await pushed(rig, left, { id: nextTransaction });
    await pushed(rig, pulse);
    assert.deepEqual(await bodies(rig, room), ['останнє слово']);
    await settle();
  });

  test('is said when the homeserver was away, and when the way back was', async () => {
    rig.homeserver.mode = 'error500';
    await rig.server.waitForEvent((event) => event.event === 'matrix.disconnected');
    rig.homeserver.mode = 'ok';
    await settle();
    rig.homeserver.answer(/ping/, [502, { errcode: 'M_CONNECTION_FAILED', error: 'refused' }], 1000);
    await rig.server.waitForEvent((event) => event.event === 'matrix.push_unreached');
    rig.homeserver.script.length = 0;
    await settle();
  });

  test('of somebody else, or of before, says nothing; nor does the city hear it', async () => {
    const room = await newRoom(rig, person(rig));
    await fail();
    const pulse = await nextPulse();
    const forged = { ...pulse[0], sender: ADA, room_id: room.matrix_room_id };
    await pushed(rig, [forged, text(rig, room, ADA, 'після')]);
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1);
    const next = await nextPulse();
    await pushed(rig, pulse);
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1);
    await pushed(rig, next); // it was said before the old one came
    assert.equal(await counter(rig, 'daarion_matrix_push_in_doubt'), 1);
    await settle();
    assert.deepEqual(await bodies(rig, room), ['після']);
  });

  test('has a room again when somebody has removed it, and the same one after a restart', async () => {
    const alias = `#city_.pulse:${SERVER_NAME}`;
    rig.homeserver.rooms.delete(rig.homeserver.aliases.get(alias));
    rig.homeserver.aliases.delete(alias);
    await fail();
    const failed = await rig.server.waitForEvent((event) => event.event === 'matrix.pulse_failed');
    assert.equal(failed.level, 'warn');
    await settle();
    assert.equal(rooms().length, 2);
    await rig.server.stop();
    await rig.server.start();
    rig.homeserver.pushUrl = rig.server.internalUrl;
    rig.internal = new Client(rig.server.internalUrl);
    rig.api = new Client(rig.server.publicUrl);
    await pushFirst(rig);
    await settle();
    assert.equal(rooms().length, 2);
  });

  test('is said by the gateway alone that the homeserver comes to', async () => {
    const other = await startServer({ ...rig.server.env });
    try {
      await other.waitForEvent((event) => event.event === 'matrix.push_works'); // it hears that one is reached
      const said = pulses().length;
      await fail();
      await settle();
      await fail();
      await settle();
      assert.equal(pulses().length, said + 2);
      const metrics = await new Client(other.internalUrl).get('/metrics');
      assert.match(metrics.text, /^daarion_matrix_push_in_doubt 0$/m);
      assert.match(metrics.text, /^daarion_matrix_pulses_total\{outcome="sent"\} 0$/m);
    } finally {
      await other.remove();
    }
  });
});
