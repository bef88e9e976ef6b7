/* Work of the Matrix source that may be large: an answer that names everybody, the members of a
 * large room, a walk over all people.  It is done a slice in each turn of the loop, one job after
 * the other as they came; a small one is done at once. */
#include "roles/presence_aggregator/matrix_source.h"

static void end(struct dc_ms *ms, struct dc_ms_job *job, bool is_complete)
{
    struct dc_loop *loop = ms->a->ctx->loop;
    json_t *json = job->json;
    bool is_large = job->turns > 1;
    dc_list_remove(&job->link);
    job->kind->end(ms, job, is_complete);
    dc_matrix_release(loop, json, is_large);
    dc_ms_pending_end(ms);
}

bool dc_ms_work(struct dc_ms *ms)
{
    size_t left = DC_AGG_TURN_STEPS;
    struct dc_ms_job *last = NULL;
    ms->is_working = true;
    while (left > 0 && !dc_list_is_empty(&ms->jobs)) {
        struct dc_ms_job *job = DC_LIST_ENTRY(ms->jobs.next, struct dc_ms_job, link);
        job->turns += job != last;
        last = job;
        size_t done = job->kind->step(ms, job, left);
        if (done < left) {
            left -= done;
            last = NULL; /* its memory may be another job's */
            end(ms, job, true);
        } else {
            left = 0;
        }
    }
    ms->is_working = false;
    dc_agg_fed(ms->a);
    if (!dc_list_is_empty(&ms->jobs)) {
        dc_turn_schedule(ms->a->ctx->loop, &ms->work_turn);
        return true;
    }
    return false;
}

static void on_turn(struct dc_turn *turn)
{
    (void)dc_ms_work(DC_CONTAINER_OF(turn, struct dc_ms, work_turn));
}

void dc_ms_job_start(struct dc_ms *ms, struct dc_ms_job *job, const struct dc_ms_job_kind *kind,
                     json_t *json)
{
    bool is_first = dc_list_is_empty(&ms->jobs);
    job->kind = kind;
    job->json = json;
    job->turns = 0;
    ms->pending++;
    dc_list_init(&job->link);
    dc_list_push_back(&ms->jobs, &job->link);
    if (is_first && !ms->is_working) {
        (void)dc_ms_work(ms);
    }
}

void dc_ms_turns_init(struct dc_ms *ms)
{
    dc_list_init(&ms->jobs);
    dc_turn_init(&ms->work_turn, on_turn);
}

void dc_ms_turns_stop(struct dc_ms *ms)
{
    dc_turn_cancel(&ms->work_turn);
    while (!dc_list_is_empty(&ms->jobs)) {
        end(ms, DC_LIST_ENTRY(ms->jobs.next, struct dc_ms_job, link), false);
    }
}
