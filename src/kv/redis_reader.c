/* See redis_reader.h.  Our functions stand before those with which hiredis makes its objects. */
#include "kv/redis_reader.h"
#include "base/mem.h"

struct dc_redis_reader {
    redisReader *hiredis;
    redisReplyObjectFunctions plain, bounded; /* hiredis' own, and ours around them */
    size_t n_owed;                            /* answers that have not begun */
    bool is_unasked;                          /* the one that is being read */
    size_t n_parts, n_bytes;                  /* of it */
    struct dc_error err;                      /* status DC_OK: none */
};

/* The first reason counts. */
static void *refuse(struct dc_redis_reader *r, const char *text)
{
    if (r->err.status == DC_OK) {
        (void)dc_fail(&r->err, DC_UPSTREAM, 0, "%s", text);
    }
    return NULL; /* which hiredis takes for a lack of memory */
}

/* false: this answer, or part of one, must not be. */
static bool may_create(struct dc_redis_reader *r, const redisReadTask *task, size_t bytes)
{
    if (task->parent == NULL) {
        r->is_unasked = r->n_owed == 0;
        if (r->is_unasked && task->type != REDIS_REPLY_ERROR) {
            (void)refuse(r, "the server answers what nobody asked");
            return false;
        }
        r->n_owed -= r->is_unasked ? 0 : 1;
        r->n_parts = 0;
        r->n_bytes = 0;
    }
    r->n_parts++;
    r->n_bytes += bytes;
    if (r->n_parts > DC_REDIS_ANSWER_MAX_PARTS || r->n_bytes > DC_REDIS_ANSWER_MAX_BYTES) {
        (void)refuse(r, "an answer of the server is too large");
        return false;
    }
    return true;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct dc_redis_reader *r = task->privdata;

    return may_create(r, task, len) ? r->plain.createString(task, text, len) : NULL;
}

#if HIREDIS_MAJOR >= 1
typedef size_t element_count;

/* Of a later version of the protocol, which we do not ask for. */
static void *create_double(const redisReadTask *task, double number, char *text, size_t len)
{
    (void)number;
    (void)text;
    (void)len;
    return refuse(task->privdata, "what came is not the protocol of Redis");
}

static void *create_bool(const redisReadTask *task, int value)
{
    (void)value;
    return refuse(task->privdata, "what came is not the protocol of Redis");
}
#else
typedef int element_count;
#endif

/* Room for the elements is made at once. */
static void *create_array(const redisReadTask *task, element_count n)
{
    struct dc_redis_reader *r = task->privdata;

    if ((size_t)n > DC_REDIS_ANSWER_MAX_PARTS) {
        return refuse(r, "an answer of the server is too large");
    }
    return may_create(r, task, 0) ? r->plain.createArray(task, n) : NULL;
}

static void *create_integer(const redisReadTask *task, long long number)
{
    struct dc_redis_reader *r = task->privdata;

    return may_create(r, task, 0) ? r->plain.createInteger(task, number) : NULL;
}

static void *create_nil(const redisReadTask *task)
{
    struct dc_redis_reader *r = task->privdata;

    return may_create(r, task, 0) ? r->plain.createNil(task) : NULL;
}

struct dc_redis_reader *dc_redis_reader_create(void)
{
    redisReader *hiredis = redisReaderCreate();

    if (hiredis == NULL) {
        return NULL;
    }
    struct dc_redis_reader *r = dc_calloc(1, sizeof(*r));
    r->hiredis = hiredis;
    r->plain = *hiredis->fn;
    r->bounded = *hiredis->fn;
    r->bounded.createString = create_string;
    r->bounded.createArray = create_array;
    r->bounded.createInteger = create_integer;
    r->bounded.createNil = create_nil;
#if HIREDIS_MAJOR >= 1
    r->bounded.createDouble = create_double;
    r->bounded.createBool = create_bool;
#endif
    hiredis->fn = &r->bounded;
    hiredis->privdata = r;
    return r;
}

void dc_redis_reader_free(struct dc_redis_reader *r)
{
    if (r != NULL) {
        redisReaderFree(r->hiredis);
        dc_free(r);
    }
}

void dc_redis_reader_expect(struct dc_redis_reader *r)
{
    r->n_owed++;
}

enum dc_status dc_redis_reader_feed(struct dc_redis_reader *r, struct dc_slice bytes,
                                    struct dc_error *err)
{
    return redisReaderFeed(r->hiredis, bytes.ptr, bytes.len) == REDIS_OK
               ? DC_OK
               : dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
}

static enum dc_status failed(const struct dc_redis_reader *r, struct dc_error *err)
{
    if (r->err.status != DC_OK) {
        *err = r->err;
        return err->status;
    }
    return r->hiredis->err == REDIS_ERR_PROTOCOL
               ? dc_fail(err, DC_UPSTREAM, 0, "what came is not the protocol of Redis")
               : dc_fail(err, DC_NO_MEMORY, 0, "out of memory");
}

enum dc_status dc_redis_reader_next(struct dc_redis_reader *r, redisReply **out,
                                    struct dc_error *err)
{
    const redisReader *hiredis = r->hiredis;
    void *answer = NULL;

    *out = NULL;
    if (redisReaderGetReply(r->hiredis, &answer) != REDIS_OK) {
        return failed(r, err);
    }
    if (answer == NULL) {
        return hiredis->len - hiredis->pos <= DC_REDIS_ANSWER_MAX_BYTES
                   ? DC_OK
                   : dc_fail(err, DC_UPSTREAM, 0, "an answer of the server is too large");
    }
    if (r->is_unasked) {
        const redisReply *goodbye = answer;
        (void)dc_fail(err, DC_UNAVAILABLE, 0, "%s", goodbye->str);
        freeReplyObject(answer);
        return DC_UNAVAILABLE;
    }
    *out = answer;
    return DC_OK;
}
