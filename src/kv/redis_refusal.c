/* See redis_refusal.h. */
#include "kv/redis_refusal.h"

static const struct dc_redis_refusal refusals[] = {
    {"NOSCRIPT", DC_UNAVAILABLE, DC_REDIS_EVAL, NULL, "does not know the script (any more)"},
    {"LOADING", DC_UNAVAILABLE, DC_REDIS_PASSES, NULL, "is loading its data"},
    {"BUSY", DC_UNAVAILABLE, DC_REDIS_PASSES, NULL, "is busy with somebody's script"},
    {"TRYAGAIN", DC_UNAVAILABLE, DC_REDIS_PASSES, NULL, "asks to try again"},
    {"ERR max number of clients reached", DC_UNAVAILABLE, DC_REDIS_PASSES, NULL,
     "has too many clients (maxclients)"},
    {"READONLY", DC_UNAVAILABLE, DC_REDIS_RECONNECT, NULL, "is a replica"},
    {"MASTERDOWN", DC_UNAVAILABLE, DC_REDIS_RECONNECT, NULL, "is a replica without its master"},
    {"NOAUTH", DC_CONFIG, DC_REDIS_RECONNECT, "refused",
     "wants a password (in REDIS_URL, or REDIS_PASSWORD)"},
    {"ERR operation not permitted", DC_CONFIG, DC_REDIS_RECONNECT, "refused",
     "wants a password (in REDIS_URL, or REDIS_PASSWORD)"},
    {"WRONGPASS", DC_CONFIG, DC_REDIS_RECONNECT, "refused", "refuses the user or the password"},
    {"NOPERM", DC_CONFIG, DC_REDIS_STANDING, "refused", "does not allow this user to do that"},
    {"OOM", DC_LIMIT, DC_REDIS_STANDING, "store_full", "has no memory left (maxmemory)"},
    {"MISCONF", DC_UNAVAILABLE, DC_REDIS_STANDING, NULL,
     "refuses writes because it cannot save its data to disk"},
    {"NOREPLICAS", DC_UNAVAILABLE, DC_REDIS_STANDING, NULL,
     "refuses writes because it has too few replicas"},
    {"CLUSTERDOWN", DC_CONFIG, DC_REDIS_STANDING, "refused",
     "is part of a cluster: give one master"},
    {"CROSSSLOT", DC_CONFIG, DC_REDIS_STANDING, "refused", "is part of a cluster: give one master"},
    {"MOVED", DC_CONFIG, DC_REDIS_STANDING, "refused", "is part of a cluster: give one master"},
    {"ASK", DC_CONFIG, DC_REDIS_STANDING, "refused", "is part of a cluster: give one master"},
    {"WRONGTYPE", DC_INTERNAL, DC_REDIS_THIS_CALL, NULL,
     "holds something of another kind under this key"},
};
static const struct dc_redis_refusal other = {"ERR", DC_INTERNAL, DC_REDIS_THIS_CALL, NULL,
                                              "does not understand the command"};

static const struct dc_redis_refusal *find(struct dc_slice answer)
{
    for (size_t i = 0; i < DC_ARRAY_LEN(refusals); i++) {
        struct dc_slice rest = answer;
        if (dc_slice_take_prefix(&rest, dc_slice_z(refusals[i].word)) &&
            (rest.len == 0 || rest.ptr[0] == ' ')) {
            return &refusals[i];
        }
    }
    return NULL;
}

const struct dc_redis_refusal *dc_redis_refusal_find(struct dc_slice answer)
{
    const struct dc_redis_refusal *found = find(answer);
    struct dc_slice rest = answer;

    /* Before version 7: "ERR Error running script (...): @user_script:5: -OOM command not ..." */
    while (found == NULL && dc_slice_starts(answer, DC_S("ERR Error ")) && rest.len > 0) {
        if (dc_slice_take_prefix(&rest, DC_S(": -"))) {
            found = find(rest);
        } else {
            rest = dc_slice_make(rest.ptr + 1, rest.len - 1);
        }
    }
    return found == NULL ? &other : found;
}

enum dc_status dc_redis_refusal_fail(const struct dc_redis_refusal *refusal, struct dc_error *err)
{
    return dc_fail_code(err, refusal->status, refusal->code, "Redis %s", refusal->text);
}
