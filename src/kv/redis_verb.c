/* Calls as commands.  What must be one step, or needs the server's clock, is a script: leases, and
 * deadlines of members.  It is called by its checksum, which the server gave when the connection
 * was greeted; a server that has forgotten it (SCRIPT FLUSH) is sent the whole.  It is one script
 * for all five verbs, so that a server knows either all of them or none: with one each, calls that
 * were made one after the other would take effect in another order while some had been sent again
 * and others not.  For the same reason removing a member is part of it.
 *
 * A lease is a string "TOKEN:HOLDER" that expires.  Tokens count in one key for all leases and are
 * never behind the clock in milliseconds: when Redis has lost that key (wiped, failed over), the
 * next token is greater than all before nevertheless, unless more than a thousand new holders a
 * second have run ahead of the clock, or the clock was set back in the same moment.
 *
 * Deadlines of members are microseconds, so that members added one after the other come out in this
 * order. */
#include "kv/redis_priv.h"
#include <stdio.h>

#define LEASE_KEY "daarion:kv:lease:"
#define DUE_KEY   "daarion:kv:due:"
#define TOKEN_KEY "daarion:kv:token"
/* A hundred years: longer times would lose digits in a script's numbers. */
#define TTL_MAX_MS UINT64_C(3155760000000)
/* The longest command: EVALSHA sha 2 key key verb holder ttl. */
#define WORDS_MAX 8

/* KEYS: lease, token; or set.  ARGV: verb, then
 *   acquire  holder, ttl in ms    the token, 0: another holds it
 *   release  holder               1, 0: it does not hold it
 *   add      member, ttl in ms
 *   remove   member               how many were removed
 *   take     how many at most     members */
static const char script[] =
    "local verb, key = ARGV[1], KEYS[1]\n"
    "if verb == 'acquire' then\n"
    "  local held = redis.call('GET', key)\n"
    "  if held then\n"
    "    local token, holder = string.match(held, '^(%d+):(.*)$')\n"
    "    if holder ~= ARGV[2] then return 0 end\n"
    "    redis.call('PEXPIRE', key, ARGV[3])\n"
    "    return tonumber(token)\n"
    "  end\n"
    "  local now = redis.call('TIME')\n"
    "  local last = tonumber(redis.call('GET', KEYS[2]) or 0) or 0\n"
    "  local token = math.max(last + 1, now[1] * 1000 + math.floor(now[2] / 1000))\n"
    "  local text = string.format('%.0f', token)\n"
    "  redis.call('SET', KEYS[2], text)\n"
    "  redis.call('SET', key, text .. ':' .. ARGV[2], 'PX', ARGV[3])\n"
    "  return token\n"
    "elseif verb == 'release' then\n"
    "  local held = redis.call('GET', key)\n"
    "  if not held or string.match(held, '^%d+:(.*)$') ~= ARGV[2] then return 0 end\n"
    "  return redis.call('DEL', key)\n"
    "elseif verb == 'remove' then\n"
    "  return redis.call('ZREM', key, ARGV[2])\n"
    "end\n"
    "local time = redis.call('TIME')\n"
    "local now = time[1] * 1000000 + time[2]\n"
    "if verb == 'add' then\n"
    "  return redis.call('ZADD', key, string.format('%.0f', now + ARGV[3] * 1000), ARGV[2])\n"
    "end\n"
    "local due = redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now),\n"
    "  'LIMIT', 0, ARGV[2])\n"
    "if #due > 0 then redis.call('ZREMRANGEBYRANK', key, 0, #due - 1) end\n"
    "return due\n";

const char *redis_script_z(void)
{
    return script;
}

bool redis_verb_has_script(enum dc_kv_verb verb)
{
    return verb != DC_KV_SET && verb != DC_KV_GET && verb != DC_KV_DELETE;
}

/* --- sending --- */

struct words {
    const char *texts[WORDS_MAX];
    size_t lens[WORDS_MAX];
    size_t n;
    char key[sizeof(LEASE_KEY) + DC_KV_KEY_MAX_BYTES]; /* with its prefix */
    char number[24];
};

static void add_word(struct words *w, struct dc_slice word)
{
    DC_ASSERT(w->n < WORDS_MAX);
    w->texts[w->n] = word.len == 0 ? "" : word.ptr;
    w->lens[w->n++] = word.len;
}

static void add_number(struct words *w, uint64_t number)
{
    int len = snprintf(w->number, sizeof(w->number), "%llu", (unsigned long long)number);

    DC_ASSERT(len > 0 && (size_t)len < sizeof(w->number));
    add_word(w, dc_slice_make(w->number, (size_t)len));
}

/* The script on one key: EVALSHA sha n prefix+name [token] verb. */
static void add_script(struct words *w, const struct redis *r, const struct redis_call *call,
                       struct dc_slice prefix, struct dc_slice verb)
{
    struct dc_slice name = call->base.req.key;
    bool is_acquire = call->base.req.verb == DC_KV_LEASE_ACQUIRE;

    if (call->is_eval || r->sha[0] == '\0') {
        add_word(w, DC_S("EVAL"));
        add_word(w, dc_slice_make(script, sizeof(script) - 1));
    } else {
        add_word(w, DC_S("EVALSHA"));
        add_word(w, dc_slice_make(r->sha, DC_REDIS_SHA_LEN));
    }
    add_word(w, is_acquire ? DC_S("2") : DC_S("1"));
    memcpy(w->key, prefix.ptr, prefix.len);
    memcpy(w->key + prefix.len, name.ptr, name.len);
    add_word(w, dc_slice_make(w->key, prefix.len + name.len));
    if (is_acquire) {
        add_word(w, DC_S(TOKEN_KEY));
    }
    add_word(w, verb);
}

bool redis_verb_send(struct redis *r, struct redis_call *call)
{
    const struct dc_kv_request *req = &call->base.req;
    uint64_t ttl_ms = req->ttl_ms < TTL_MAX_MS ? req->ttl_ms : TTL_MAX_MS;
    struct words w;

    w.n = 0;
    switch (req->verb) {
    case DC_KV_SET:
        add_word(&w, DC_S("SET"));
        add_word(&w, req->key);
        add_word(&w, req->value);
        if (ttl_ms > 0) {
            add_word(&w, DC_S("PX"));
            add_number(&w, ttl_ms);
        }
        break;
    case DC_KV_GET:
        add_word(&w, DC_S("GET"));
        add_word(&w, req->key);
        break;
    case DC_KV_DELETE:
        add_word(&w, DC_S("DEL"));
        add_word(&w, req->key);
        break;
    case DC_KV_LEASE_ACQUIRE:
        add_script(&w, r, call, DC_S(LEASE_KEY), DC_S("acquire"));
        add_word(&w, req->value);
        add_number(&w, ttl_ms);
        break;
    case DC_KV_LEASE_RELEASE:
        add_script(&w, r, call, DC_S(LEASE_KEY), DC_S("release"));
        add_word(&w, req->value);
        break;
    case DC_KV_EXPIRY_ADD:
        add_script(&w, r, call, DC_S(DUE_KEY), DC_S("add"));
        add_word(&w, req->value);
        add_number(&w, ttl_ms);
        break;
    case DC_KV_EXPIRY_REMOVE:
        add_script(&w, r, call, DC_S(DUE_KEY), DC_S("remove"));
        add_word(&w, req->value);
        break;
    case DC_KV_EXPIRY_TAKE_DUE:
        add_script(&w, r, call, DC_S(DUE_KEY), DC_S("take"));
        add_number(&w, req->max);
        break;
    }
    return dc_redis_link_send(r->link, call, w.n, w.texts, w.lens);
}

/* --- reading --- */

static enum dc_status unexpected(struct dc_error *err)
{
    return dc_fail(err, DC_UPSTREAM, 0, "the server's answer does not fit the question");
}

static enum dc_status read_members(const struct redis_call *call, const redisReply *answer,
                                   struct dc_slice *members, struct dc_kv_answer *out,
                                   struct dc_error *err)
{
    if (answer->type != REDIS_REPLY_ARRAY || answer->elements > call->base.req.max) {
        return unexpected(err);
    }
    for (size_t i = 0; i < answer->elements; i++) {
        const redisReply *member = answer->element[i];
        if (member->type != REDIS_REPLY_STRING) {
            return unexpected(err);
        }
        members[i] = dc_slice_make(member->str, member->len);
    }
    out->members = members;
    out->n_members = answer->elements;
    return DC_OK;
}

enum dc_status redis_verb_read(const struct redis_call *call, const redisReply *answer,
                               struct dc_slice *members, struct dc_kv_answer *out,
                               struct dc_error *err)
{
    bool is_number = answer->type == REDIS_REPLY_INTEGER && answer->integer >= 0;

    switch (call->base.req.verb) {
    case DC_KV_SET:
        return answer->type == REDIS_REPLY_STATUS ? DC_OK : unexpected(err);
    case DC_KV_GET:
        if (answer->type == REDIS_REPLY_NIL) {
            return DC_OK;
        }
        if (answer->type != REDIS_REPLY_STRING) {
            return unexpected(err);
        }
        if (answer->len > DC_KV_VALUE_MAX_BYTES) {
            return dc_fail(err, DC_TOO_LARGE, 0, "somebody else's value is too large");
        }
        out->value = dc_slice_make(answer->str, answer->len);
        return DC_OK;
    case DC_KV_DELETE:
    case DC_KV_EXPIRY_REMOVE:
        out->number = answer->integer;
        return is_number && answer->integer <= 1 ? DC_OK : unexpected(err);
    case DC_KV_EXPIRY_ADD:
        return is_number ? DC_OK : unexpected(err);
    case DC_KV_LEASE_ACQUIRE:
    case DC_KV_LEASE_RELEASE:
        if (!is_number) {
            return unexpected(err);
        }
        if (answer->integer == 0) {
            return dc_fail(err, DC_CONFLICT, 0, "another holds the lease, or nobody");
        }
        out->number = call->base.req.verb == DC_KV_LEASE_ACQUIRE ? answer->integer : 0;
        return DC_OK;
    case DC_KV_EXPIRY_TAKE_DUE:
        return read_members(call, answer, members, out, err);
    }
    return unexpected(err);
}
