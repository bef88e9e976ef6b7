/* Whether the homeserver has presence.  It does not say (matrix/FACTS §5): with presence switched
 * off it takes what it is told, answers that everybody is offline, and leaves /sync without a word
 * about people, as in a city where nobody is.  So the daemon writes a line into its own presence,
 * staying offline, and reads it: whoever keeps presence has it.
 *
 * Asked only where nobody's presence is told: in a city with people one answer of /sync tells.
 * Twice more before it is called off, since another aggregator may write at the same time.  A line
 * of another one counts, an old one does not: a homeserver without presence may show what it had
 * stored before. */
#include "base/mem.h"
#include "roles/presence_aggregator/matrix_source.h"

#define CALL_MS   30000 /* a homeserver takes one change in ten seconds (rc_presence) */
#define ROUNDS    3
#define PAUSE_MS  1000
#define AGAIN_MS  60000
#define RECENT_MS 60000
#define MARK      "listening to the city, "

static struct dc_matrix_how how_to(struct dc_ms *ms, dc_matrix_cb cb)
{
    struct dc_matrix_how how = dc_ms_how(ms, CALL_MS, cb, ms);
    how.is_impatient = false;
    return how;
}

/* --- what has been found --- */

static void find(struct dc_ms *ms, bool is_off)
{
    if (is_off && !ms->probe.is_off) {
        DC_LOG_WARN_EVENT(ms->a->ctx->log, "presence.matrix_off",
                          DC_LF_Z("effect", "nobody with a Matrix client is shown online"),
                          DC_LF_Z("hint", "presence: {enabled: true} in homeserver.yaml"));
    } else if (!is_off && ms->probe.is_off) {
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_on", DC_LF_B("again", true));
    }
    ms->probe.is_off = is_off;
}

void dc_ms_probe_heard(struct dc_ms *ms)
{
    ms->probe.is_wanted = false;
    find(ms, false);
}

void dc_ms_probe_want(struct dc_ms *ms, int64_t after_ms)
{
    if (!ms->probe.is_asking) {
        ms->probe.is_wanted = true;
        ms->probe.rounds = 0;
        ms->probe.due_ms = dc_ms_now_ms(ms) + after_ms;
        dc_ms_arm(ms);
    }
}

static void ended(struct dc_ms *ms)
{
    ms->probe.is_asking = false;
    if (!ms->is_stopping) {
        dc_ms_arm(ms);
    }
    dc_ms_pending_end(ms);
}

static void fail(struct dc_ms *ms, const struct dc_error *err)
{
    if (!ms->is_stopping) {
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_probe_failed", DC_LF_ERR(err));
        ms->probe.due_ms = dc_ms_now_ms(ms) + AGAIN_MS;
    }
    ended(ms);
}

/* --- the calls --- */

static void on_cleared(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    struct dc_ms *ms = data;
    (void)answer;
    if (st != DC_OK && !ms->is_stopping) { /* the line stays until the next time */
        DC_LOG_INFO_EVENT(ms->a->ctx->log, "presence.matrix_probe_failed", DC_LF_ERR(err));
    }
    ended(ms);
}

static void clear(struct dc_ms *ms)
{
    const struct dc_matrix_how how = how_to(ms, on_cleared);
    ms->probe.is_wanted = false;
    find(ms, false);
    DC_LOG_DEBUG_EVENT(ms->a->ctx->log, "presence.matrix_probed", DC_LF_B("off", false));
    if (dc_matrix_set_presence(ms->matrix, &how, ms->user_id, DC_S("offline"), DC_SLICE_NULL,
                               NULL) != DC_OK) {
        ended(ms);
    }
}

static bool is_recent_mark(const struct dc_ms *ms, struct dc_slice text)
{
    int64_t at_ms = 0;
    return dc_slice_take_prefix(&text, DC_S(MARK)) && dc_slice_to_i64(text, &at_ms) &&
           at_ms >= ms->probe.from_ms;
}

static void on_read(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                    const struct dc_error *err)
{
    struct dc_ms *ms = data;
    if (st != DC_OK || ms->is_stopping) {
        fail(ms, err);
        return;
    }
    if (is_recent_mark(ms, dc_matrix_read_text(answer->json, "status_msg"))) {
        clear(ms);
        return;
    }
    ms->probe.rounds++;
    ms->probe.due_ms = dc_ms_now_ms(ms) + PAUSE_MS + (int64_t)dc_random_below(NULL, PAUSE_MS);
    if (ms->probe.rounds == ROUNDS && ms->probe.is_wanted) {
        ms->probe.is_wanted = false;
        find(ms, true);
    }
    ended(ms);
}

static void on_written(void *data, enum dc_status st, const struct dc_matrix_answer *answer,
                       const struct dc_error *err)
{
    struct dc_ms *ms = data;
    struct dc_error wrong = {0};
    (void)answer;
    if (st == DC_OK && !ms->is_stopping) {
        const struct dc_matrix_how how = how_to(ms, on_read);
        st = dc_matrix_get_presence(ms->matrix, &how, ms->user_id, &wrong);
        if (st == DC_OK) {
            return;
        }
        err = &wrong;
    }
    fail(ms, err);
}

static void write_mark(struct dc_ms *ms)
{
    struct dc_strbuf mark = {0};
    struct dc_error err = {0};
    const struct dc_matrix_how how = how_to(ms, on_written);
    int64_t now_ms = dc_utc_now().ms;
    if (ms->probe.rounds == 0) {
        ms->probe.from_ms = now_ms - RECENT_MS;
    }
    dc_strbuf_printf(&mark, MARK "%lld", (long long)now_ms);
    enum dc_status st = dc_strbuf_ok(&mark)
                            ? dc_matrix_set_presence(ms->matrix, &how, ms->user_id, DC_S("offline"),
                                                     dc_strbuf_slice(&mark), &err)
                            : dc_fail(&err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    dc_strbuf_free(&mark);
    ms->probe.is_asking = true;
    ms->pending++;
    if (st != DC_OK) {
        fail(ms, &err);
    }
}

/* --- time --- */

int64_t dc_ms_probe_due_ms(const struct dc_ms *ms)
{
    bool may_ask = ms->probe.is_wanted && !ms->probe.is_asking && ms->phase == DC_MS_POLLING &&
                   ms->failing_since_ms == 0;
    return may_ask ? ms->probe.due_ms : INT64_MAX;
}

void dc_ms_probe_clock(struct dc_ms *ms)
{
    if (dc_ms_probe_due_ms(ms) <= dc_ms_now_ms(ms)) {
        write_mark(ms);
    }
}
