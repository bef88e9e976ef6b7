/* Key-value port: expiring keys, sorted expiry, leases with fencing; in memory, or Redis by the
 * same interface (what one backend cannot do is not here).  A cache: losing all of it loses no
 * truth (DESIGN §3 rule 2).  All calls are asynchronous (rt/op.h) with the backend's deadline.
 *
 * Redis (docs/decisions/0007): all calls of a turn are one pipeline; answers come in order.  While
 * the server is away calls fail at once with DC_UNAVAILABLE, health says degraded, and the client
 * reconnects with back-off (through Sentinel: to the new master).  A call that had been sent when
 * the connection broke (DC_UNAVAILABLE) or when its deadline passed (DC_TIMEOUT) has the code
 * "outcome_unknown": it may have taken effect, and members that a take_due had removed are then
 * handed to nobody.  Codes of other failures: "store_full" (DC_LIMIT), "refused" (DC_CONFIG: the
 * user lacks a right, or this is a Redis Cluster).
 *
 * Keys in Redis: those of set, get and delete as they are given; "daarion:kv:" begins the port's
 * own ("daarion:kv:lease:NAME", "daarion:kv:due:SET", "daarion:kv:token"), so no key may begin with
 * it (DC_INVALID).  Nothing ever lists keys. */
#ifndef DC_KV_KV_H
#define DC_KV_KV_H

#include "obs/health.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "rt/op.h"

struct dc_kv;

#define DC_KV_KEY_MAX_BYTES   256
#define DC_KV_VALUE_MAX_BYTES 65536
/* Calls without an answer at a time, and what their keys and values may take together; further ones
 * are DC_LIMIT. */
#define DC_KV_CALLS_MAX       65536
#define DC_KV_CALLS_MAX_BYTES ((size_t)64 * 1024 * 1024)
/* What a key of set, get and delete must not begin with. */
#define DC_KV_RESERVED "daarion:kv:"

struct dc_kv_opts {
    /* NULL: memory; redis://[user:password@]host[:6379][/db]; through Sentinel
     * redis+sentinel://[user:password@]host[:26379],host,.../master-name[?db=0
     * &sentinel_password=...]; with TLS rediss:// and rediss+sentinel://.  DC_CONFIG for anything
     * else, naming REDIS_URL. */
    const char *url;
    const char *password; /* of the server when the URL has none; NULL allowed */
    /* Only with TLS, else DC_CONFIG.  NULL allowed.  Read when the store is opened, and again when
     * one was replaced before it connects anew. */
    const char *tls_ca_file;   /* whom to trust instead of the system's authorities */
    const char *tls_cert_file; /* our certificate, with tls_key_file */
    const char *tls_key_file;
    uint64_t deadline_ms; /* of a call, and of an attempt to connect; 0: 5 s */
    size_t max_keys; /* memory: further new keys, leases and members are DC_LIMIT; 0: a million */
    struct dc_log *log;
    struct dc_metrics *metrics;     /* required */
    struct dc_health_check *health; /* NULL allowed */
};
DC_MUST_USE enum dc_status dc_kv_open(struct dc_loop *loop, const struct dc_kv_opts *opts,
                                      struct dc_kv **out, struct dc_error *err);
/* ready runs once, in a later turn: DC_OK when the store works for the first time, DC_CONFIG when
 * it can never work as configured (refused login, no such database, no such master name, TLS on one
 * side only, a certificate that is refused; it goes on trying nevertheless).  Not after
 * dc_kv_close(). */
void dc_kv_on_ready(struct dc_kv *kv, void (*ready)(void *data, const struct dc_error *err),
                    void *data);
/* Running calls end with DC_CANCELED; closed runs last.  Calls made after it are DC_CLOSED. */
void dc_kv_close(struct dc_kv *kv, void (*closed)(void *data), void *data);

/* value.ptr NULL: no such key. Borrowed. number: the answer of calls that count (fencing tokens,
 * keys removed). */
typedef void (*dc_kv_cb)(void *data, enum dc_status st, struct dc_slice value, int64_t number,
                         const struct dc_error *err);

/* Keys (names, members, holders) have 1 to 256 bytes, whatever they are (else DC_INVALID), values
 * <= 64 KiB (else DC_TOO_LARGE, as the call's own answer); copied.  Calls take effect in the order
 * they were made, never inside the call; one that is cancelled before has none (Redis: one that was
 * cancelled after it was sent may have).  cb may be NULL when nobody cares about the outcome
 * (failures are counted and logged; *op is NULL then).
 * ttl_ms 0: until deleted. delete answers number = keys removed, 0 or 1. */
DC_MUST_USE enum dc_status dc_kv_set(struct dc_kv *kv, struct dc_slice key, struct dc_slice value,
                                     uint64_t ttl_ms, dc_kv_cb cb, void *data, struct dc_op **op);
DC_MUST_USE enum dc_status dc_kv_get(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb, void *data,
                                     struct dc_op **op);
DC_MUST_USE enum dc_status dc_kv_delete(struct dc_kv *kv, struct dc_slice key, dc_kv_cb cb,
                                        void *data, struct dc_op **op);

/* Lease: at most one holder at a time.  Acquire answers number = fencing token (increases with
 * every new holder) or DC_CONFLICT while another holds it; the holder's own acquire renews and
 * keeps its token. Release by another than the holder is DC_CONFLICT, also when nobody holds it
 * (any more). ttl_ms 0 is DC_INVALID.  Redis may lose leases (wiped, failed over): another then
 * gets them, with a greater token, as tokens are never behind the server's clock in milliseconds.
 */
DC_MUST_USE enum dc_status dc_kv_lease_acquire(struct dc_kv *kv, struct dc_slice name,
                                               struct dc_slice holder, uint64_t ttl_ms, dc_kv_cb cb,
                                               void *data, struct dc_op **op);
DC_MUST_USE enum dc_status dc_kv_lease_release(struct dc_kv *kv, struct dc_slice name,
                                               struct dc_slice holder, dc_kv_cb cb, void *data,
                                               struct dc_op **op);

/* Sorted expiry: a set of members with deadlines that processes share.  Add sets or moves a member
 * to now + ttl_ms; take_due removes and hands out up to max (at most DC_KV_TAKE_MAX) members whose
 * time has passed, earliest first, each to one caller only. remove answers number = members
 * removed.  Redis: by the server's clock alone, so the clocks of processes do not matter. */
#define DC_KV_TAKE_MAX 1000
DC_MUST_USE enum dc_status dc_kv_expiry_add(struct dc_kv *kv, struct dc_slice set,
                                            struct dc_slice member, uint64_t ttl_ms, dc_kv_cb cb,
                                            void *data, struct dc_op **op);
DC_MUST_USE enum dc_status dc_kv_expiry_remove(struct dc_kv *kv, struct dc_slice set,
                                               struct dc_slice member, dc_kv_cb cb, void *data,
                                               struct dc_op **op);
typedef void (*dc_kv_due_cb)(void *data, enum dc_status st, const struct dc_slice *members,
                             size_t n, const struct dc_error *err);
DC_MUST_USE enum dc_status dc_kv_expiry_take_due(struct dc_kv *kv, struct dc_slice set, size_t max,
                                                 dc_kv_due_cb cb, void *data, struct dc_op **op);

#endif
