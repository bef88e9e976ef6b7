/* Answers of a server out of its bytes: hiredis' reader with bounds.  Pure: no socket, no loop.
 *
 * What hiredis leaves to us: how much an answer may be (*2147483647 would ask for 16 GiB of
 * pointers), and that there is somebody who asked. */
#ifndef DC_KV_REDIS_READER_H
#define DC_KV_REDIS_READER_H

#include "base/slice.h"
#include "base/status.h"
#include <hiredis/hiredis.h>

/* Of one answer; a larger one is an error. */
#define DC_REDIS_ANSWER_MAX_BYTES ((size_t)1024 * 1024)
#define DC_REDIS_ANSWER_MAX_PARTS 4096

struct dc_redis_reader;

/* NULL: no memory. */
struct dc_redis_reader *dc_redis_reader_create(void);
/* NULL is allowed. */
void dc_redis_reader_free(struct dc_redis_reader *r);
/* Something was asked: one more answer may come. */
void dc_redis_reader_expect(struct dc_redis_reader *r);
/* Copies. */
DC_MUST_USE enum dc_status dc_redis_reader_feed(struct dc_redis_reader *r, struct dc_slice bytes,
                                                struct dc_error *err);
/* The next complete answer, for freeReplyObject(); NULL: there is none yet.  After an error nothing
 * more can be read.  DC_UPSTREAM: no answer, too large, or to nothing that was asked;
 * DC_UNAVAILABLE: an error that nobody asked for, which is how a server says goodbye;
 * DC_NO_MEMORY. */
DC_MUST_USE enum dc_status dc_redis_reader_next(struct dc_redis_reader *r, redisReply **out,
                                                struct dc_error *err);

#endif
