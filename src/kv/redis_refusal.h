/* What error answers of Redis mean for us: the one place that knows them. */
#ifndef DC_KV_REDIS_REFUSAL_H
#define DC_KV_REDIS_REFUSAL_H

#include "base/slice.h"
#include "base/status.h"

enum dc_redis_remedy {
    DC_REDIS_PASSES,    /* by itself; asking again may help */
    DC_REDIS_RECONNECT, /* this server is not, or no longer, the one to talk to */
    DC_REDIS_EVAL,      /* send the script itself */
    DC_REDIS_STANDING,  /* refuses more than this call until somebody acts */
    DC_REDIS_THIS_CALL, /* only this call */
};

struct dc_redis_refusal {
    const char *word; /* that the answer begins with */
    enum dc_status status;
    enum dc_redis_remedy remedy;
    const char *code; /* of the error; NULL: the status's own */
    const char *text; /* for people */
};

/* answer: text of an error answer, without the leading '-'.  Never NULL. */
const struct dc_redis_refusal *dc_redis_refusal_find(struct dc_slice answer);
/* Describes the refusal of a call.  Only the words of the table: a server may repeat arguments. */
enum dc_status dc_redis_refusal_fail(const struct dc_redis_refusal *refusal, struct dc_error *err);

#endif
