// The presence aggregator on the internal listener: what it knows, and that its words are marked fresh.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { closing, internalHeaders, newRoom, person, untilOnline, useCity } from './support/city.mjs';
import { assertError } from './support/http.mjs';
import { goOnline, openPresence, openRoom } from './support/sockets.mjs';

const city = useCity({ PRESENCE_CLOSE_GRACE_MS: 300, ROOM_PRESENCE_THROTTLE_MS: 100 });

const status = () => city.internal.ok('GET', '/internal/presence/status', undefined, { headers: internalHeaders });

async function until(fits) {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const answer = await status();
    if (fits(answer)) {
      return answer;
    }
    assert.ok(performance.now() < deadline, JSON.stringify(answer));
  }
}

describe('/internal/presence/status', () => {
  test('the only aggregator leads, and counts people, rooms and sessions', async (t) => {
    const user = person(city);
    const room = await newRoom(city, user);
    closing(t, await goOnline(city.server, user));
    closing(t, await openRoom(city.server, room.slug, user, { join: true }));
    await untilOnline(city, room, 1);
    const answer = await until((s) => s.role === 'leader' && s.online_total >= 1);
    assert.equal(answer.leader, null);
    assert.ok(answer.term > 0 && answer.gen > 0);
    assert.ok(answer.sessions >= 2);
    assert.deepEqual(answer.sources.map((source) => source.name), ['native']);
    assert.deepEqual(answer.rooms.find((entry) => entry.room_id === room.id), {
      slug: room.slug, room_id: room.id, online_count: 1, away_count: 0, typing_count: 0,
    });
    assert.equal(answer.rooms_tracked, answer.rooms.length);
    await until((s) => s.sources[0].state === 'fresh');
  });

  test('it needs the key and is not on the public listener', async () => {
    assertError(await city.internal.get('/internal/presence/status'), 401, 'unauthorized');
    for (const pathname of ['/internal/presence/status', '/internal/presence/health']) {
      assertError(await city.api.get(pathname, { headers: internalHeaders }), 404, 'not_found');
    }
  });
});

test('/internal/presence/health needs no key and names nobody', async () => {
  const health = await city.internal.ok('GET', '/internal/presence/health');
  assert.equal(health.status, 'healthy');
  assert.equal(health.role, 'leader');
});

test('its metrics tell who leads and what was published', async () => {
  const { text } = await city.internal.get('/metrics');
  assert.match(text, /^daarion_presence_leader 1$/m);
  assert.match(text, /^daarion_presence_takeovers_total 1$/m);
  assert.match(text, /^daarion_presence_events_total\{source="native"\} \d+$/m);
  for (const name of ['daarion_presence_published_total',
    'daarion_presence_throttled_total', 'daarion_presence_losses_total', 'daarion_city_presence_fresh']) {
    assert.match(text, new RegExp(`^${name} \\d+$`, 'm'));
  }
});

describe('the state of presence', () => {
  test('is fresh in the snapshot, the frame of the city and the summary', async (t) => {
    await until((s) => s.role === 'leader');
    const watcher = await openPresence(city.server, person(city), { mode: 'rooms' });
    closing(t, watcher);
    closing(t, await goOnline(city.server, person(city)));
    await watcher.nextFrame((frame) => frame.type === 'city.presence' && frame.state === 'fresh');
    const late = await openPresence(city.server, person(city), { mode: 'rooms' });
    closing(t, late);
    assert.equal((await late.nextFrame('PresenceSnapshot')).state, 'fresh');
    assert.equal((await city.api.ok('GET', '/presence/summary')).state, 'fresh');
    const { checks } = await city.internal.ok('GET', '/readyz');
    assert.equal(checks.presence.status, 'ok');
  });

  test('every document gives the same totals', async (t) => {
    closing(t, await goOnline(city.server, person(city)), await goOnline(city.server, person(city), { status: 'away' }));
    const watcher = await openPresence(city.server, person(city), { mode: 'rooms' });
    closing(t, watcher);
    const { city: first } = await watcher.nextFrame('PresenceSnapshot');
    const { city: summary } = await city.api.ok('GET', '/presence/summary');
    assert.deepEqual([summary.online_total, summary.away_total], [first.online_total, first.away_total]);
  });
});
