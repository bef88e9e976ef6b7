// People with any Matrix client, by plain HTTP; and the city that listens to them as @presence_daemon.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { internalHeaders } from '../../e2e/support/city.mjs';
import { Client } from '../../e2e/support/http.mjs';
import { startServer } from '../../e2e/support/server.mjs';
import { until } from './until.mjs';

/** homeserver.yaml without the limits that would make tests wait. */
export const NO_LIMITS = `
rc_presence: {per_user: {per_second: 10000, burst_count: 10000}}
rc_message: {per_second: 10000, burst_count: 10000}
rc_registration: {per_second: 10000, burst_count: 10000}
rc_joins: {local: {per_second: 10000, burst_count: 10000}, remote: {per_second: 10000, burst_count: 10000}}
rc_joins_per_room: {per_second: 10000, burst_count: 10000}
rc_invites: {per_room: {per_second: 1000, burst_count: 1000}, per_user: {per_second: 1000, burst_count: 1000}, per_issuer: {per_second: 1000, burst_count: 1000}}
`;

/**
 * homeserver.yaml: whom a test has called online stays so until the test says otherwise, however slow the machine is. By
 * itself a homeserver forgets after half a minute.
 */
export const STEADY = 'presence: {enabled: true, sync_online_timeout: 1h, last_active_granularity: 1h, idle_timeout: 2h}\n';

const encode = encodeURIComponent;

export class Resident {
  /** An ordinary account (admin: the homeserver's administrator). */
  static async register(synapse, username, { admin = false } = {}) {
    const { nonce } = await synapse.ok('GET', '/_synapse/admin/v1/register');
    const mac = createHmac('sha1', synapse.registrationSecret)
      .update([nonce, username, `password-${username}`, admin ? 'admin' : 'notadmin'].join('\0')).digest('hex');
    const made = await synapse.ok('POST', '/_synapse/admin/v1/register', {
      json: { nonce, username, password: `password-${username}`, admin, mac },
    });
    return Object.assign(new Resident(), { synapse, id: made.user_id, token: made.access_token });
  }

  call(method, target, json) {
    return this.synapse.call(method, `/_matrix/client/v3${target}`, { token: this.token, json });
  }

  async ok(method, target, json) {
    const { status, json: answer } = await this.call(method, target, json);
    assert.equal(status, 200, `${method} ${target}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /**
   * Synapse looks up in its database, for those who see somebody come, what it knows of his presence, and takes what it
   * finds over what he has said meanwhile (current_state_for_users): somebody it has heard of it need not look for.
   */
  async join(room) {
    if (!this.isKnown) {
      await this.presence('offline');
    }
    return this.ok('POST', `/join/${encode(room)}`, {});
  }

  leave(room) {
    return this.ok('POST', `/rooms/${encode(room)}/leave`, {});
  }

  kick(room, user, what = 'kick') {
    return this.ok('POST', `/rooms/${encode(room)}/${what}`, { user_id: user });
  }

  presence(presence) {
    this.isKnown = true;
    return this.ok('PUT', `/presence/${encode(this.id)}/status`, { presence });
  }

  typing(room, typing, timeout = 20000) {
    return this.ok('PUT', `/rooms/${encode(room)}/typing/${encode(this.id)}`, typing ? { typing, timeout } : { typing });
  }
}

export class MatrixCity {
  /** `up` on a Synapse, its rooms made there, listening as its presence daemon. */
  static async start(synapse, env = {}) {
    const city = new MatrixCity();
    city.synapse = synapse;
    city.daemon = await Resident.register(synapse, 'presence_daemon');
    city.server = await startServer({
      SYNAPSE_URL: synapse.url,
      MATRIX_SERVER_NAME: synapse.serverName,
      MATRIX_AS_TOKEN: synapse.asToken,
      MATRIX_ACCESS_TOKEN: city.daemon.token,
      MATRIX_USER_ID: city.daemon.id,
      MATRIX_CHECK_INTERVAL_MS: 200,
      ROOM_PRESENCE_THROTTLE_MS: 100,
      ...env,
    });
    city.api = new Client(city.server.publicUrl);
    city.internal = new Client(city.server.internalUrl);
    await city.internal.ok('POST', '/internal/city/matrix/backfill', undefined, { headers: internalHeaders });
    return city;
  }

  async remove() {
    await this.server.remove();
    for (const secret of [this.daemon.token, this.synapse.asToken]) {
      assert.ok(!this.server.stderr.includes(secret), 'a secret stands in the log');
    }
  }

  status() {
    return this.internal.ok('GET', '/internal/presence/status', undefined, { headers: internalHeaders });
  }

  async source() {
    return (await this.status()).sources.find((source) => source.name === 'matrix');
  }

  /** Asks until the status fits. */
  async until(fits) {
    const matrixOf = (status) => status.sources.find((source) => source.name === 'matrix');
    return matrixOf(await until('a status', () => this.status(), (status) => fits(matrixOf(status), status), { limitMs: 30_000 }));
  }

  /** {id, slug, matrix_room_id, matrix_room_alias} */
  async room(slug) {
    const rooms = await this.internal.ok('GET', '/internal/city/rooms', undefined, { headers: internalHeaders });
    return rooms.find((room) => room.slug === slug);
  }

  /** Waits until the daemon is in all of the city's rooms. */
  listening(rooms = 3) {
    return this.until((matrix) => matrix.state === 'fresh' && matrix.rooms === rooms && matrix.rooms_unknown === 0);
  }
}
