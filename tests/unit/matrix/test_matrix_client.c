/* Calls to a homeserver that waits, refuses, lies and hangs. */
#include "matrix_fixture.h"

#define LONG_MS 15000

static struct dc_op *start(struct rig *rig, struct dc_matrix_request request)
{
    struct dc_op *op = NULL;
    struct dc_error err = {0};
    rig->out = (struct outcome){0};
    if (request.deadline_ms == 0) {
        request.deadline_ms = LONG_MS;
    }
    request.name = "test";
    if (request.method == NULL) {
        request.method = "GET";
    }
    if (request.path.len == 0) {
        request.path = DC_S("/x");
    }
    enum dc_status st = dc_matrix_call(rig->m, &request, on_outcome, &rig->out, &op, &err);
    if (st != DC_OK) {
        fail_msg("cannot start: %s", dc_error_text(&err));
    }
    assert_non_null(op);
    assert_int_equal(rig->out.n, 0); /* never before the call has returned */
    return op;
}

static void call(struct rig *rig, struct dc_matrix_request request)
{
    start(rig, request);
    RUN_UNTIL(&rig->f, rig->out.n == 1);
}

static void a_call_carries_its_token_in_the_header_and_its_user_in_the_query(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(&rig, {200, "application/json", "{\"a\":1}", NULL});
    call(&rig, (struct dc_matrix_request){
                   .method = "PUT",
                   .path = DC_S("/_matrix/client/v3/a?b=c"),
                   .body = DC_S("{\"d\":2}"),
                   .auth = {.token = DC_S("syt_secret"), .as_user_id = DC_S("@a:b")}});
    assert_int_equal(rig.out.st, DC_OK);
    assert_int_equal(rig.out.http, 200);
    assert_true(rig.out.has_json);
    assert_string_equal(
        rig_asked(&rig),
        "PUT /_matrix/client/v3/a?b=c&user_id=%40a%3Ab|Bearer syt_secret|{\"d\":2}\n");
    rig_script(&rig, rig.script, 1);
    call(&rig, (struct dc_matrix_request){.method = "POST"});
    assert_string_equal(rig_asked(&rig), "POST /x?||{}\n");
    rig_script(&rig, rig.script, 1);
    call(&rig, (struct dc_matrix_request){0});
    assert_string_equal(rig_asked(&rig), "GET /x?||\n");
    rig_close(&rig);
}

static void a_call_that_has_to_wait_is_made_again_after_the_pause_asked_for(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(
        &rig,
        {429, "application/json", "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":300}", "9"},
        {429, "application/json", "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":1}", NULL},
        {200, "application/json", "{}", NULL});
    struct dc_mono before = dc_loop_now(rig.f.loop);
    call(&rig, (struct dc_matrix_request){.method = "POST", .body = DC_S("{\"a\":1}")});
    assert_int_equal(rig.out.st, DC_OK);
    assert_int_equal(rig.n_asked, 3);
    assert_true(dc_loop_now(rig.f.loop).ms - before.ms >= 300); /* never early */
    assert_string_equal(rig_asked(&rig),
                        "POST /x?||{\"a\":1}\nPOST /x?||{\"a\":1}\nPOST /x?||{\"a\":1}\n");
    rig_close(&rig);
}

static void no_pause_goes_beyond_the_callers_deadline(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(&rig, {429, "application/json",
                  "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":62309}", NULL});
    call(&rig, (struct dc_matrix_request){.deadline_ms = LONG_MS});
    assert_int_equal(rig.out.st, DC_LIMIT);
    assert_string_equal(rig.out.code, "rate_limited");
    assert_int_equal(rig.out.retry_after_ms, 62309);
    assert_int_equal(rig.n_asked, 1);
    rig_close(&rig);
}

static void the_impatient_do_not_wait_and_the_header_counts_when_the_body_is_silent(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(&rig, {429, "text/html", "<html>slow down</html>", "7"});
    call(&rig, (struct dc_matrix_request){.is_impatient = true});
    assert_int_equal(rig.out.st, DC_LIMIT);
    assert_int_equal(rig.out.retry_after_ms, 7000);
    assert_int_equal(rig.n_asked, 1);
    rig_close(&rig);
}

static void without_a_number_it_backs_off_by_itself(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(
        &rig,
        {429, "application/json", "{\"errcode\":\"M_LIMIT_EXCEEDED\",\"retry_after_ms\":0}", NULL},
        {429, "application/json", "{}", NULL}, {200, "application/json", "{}", NULL});
    call(&rig, (struct dc_matrix_request){0});
    assert_int_equal(rig.out.st, DC_OK);
    assert_int_equal(rig.n_asked, 3);
    rig_close(&rig);
}

static void answers_that_are_no_matrix_have_one_code(void **state)
{
    static const struct said rows[] = {
        {200, "text/html", "<html>It works!</html>", NULL},
        {200, "application/json", "[]", NULL},
        {200, "application/json", "{\"a\":", NULL},
        {200, "application/json", "", NULL},
        {200, "application/json", "{\"a\":\"\xff\"}", NULL},
        {302, "text/html", "elsewhere", NULL},
        {500, "application/json", "{\"errcode\":\"M_UNKNOWN\"}", NULL},
    };
    struct rig rig;
    (void)state;
    rig_open(&rig);
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        rig_script(&rig, &rows[i], 1);
        call(&rig, (struct dc_matrix_request){0});
        assert_int_equal(rig.out.st, DC_UPSTREAM);
        assert_string_equal(rig.out.code, "matrix_bad_answer");
        assert_int_equal(rig.n_asked, 1);
    }
    SCRIPT(&rig, {502, "text/html", "<html>Bad Gateway</html>", NULL});
    call(&rig, (struct dc_matrix_request){0});
    assert_int_equal(rig.out.st, DC_UNAVAILABLE);
    assert_string_equal(rig.out.code, "matrix_unavailable");
    rig_close(&rig);
}

static void what_strangers_nest_deeply_does_not_spoil_an_answer(void **state)
{
    struct rig rig;
    struct dc_strbuf body = {0};
    struct said deep = {200, "application/json", NULL, NULL};
    (void)state;
    rig_open(&rig);
    dc_strbuf_add(&body, DC_S("{\"a\":"));
    for (int i = 0; i < 1000; i++) {
        dc_strbuf_add_char(&body, '[');
    }
    for (int i = 0; i < 1000; i++) {
        dc_strbuf_add_char(&body, ']');
    }
    dc_strbuf_add(&body, DC_S("}"));
    dc_strbuf_add_char(&body, '\0');
    deep.body = body.ptr;
    rig_script(&rig, &deep, 1);
    call(&rig, (struct dc_matrix_request){0});
    assert_int_equal(rig.out.st, DC_OK);
    dc_strbuf_free(&body);
    rig_close(&rig);
}

static void an_answer_that_is_too_large_is_not_kept(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    SCRIPT(&rig,
           {200, "application/json", "{\"a\":\"0123456789012345678901234567890123456789\"}", NULL});
    call(&rig, (struct dc_matrix_request){.max_response_bytes = 20});
    assert_int_equal(rig.out.st, DC_UNAVAILABLE);
    assert_int_equal(rig.out.http, 0);
    rig_close(&rig);
}

/* --- large answers --- */

/* The pool has four threads, and nobody else's work gets to them while it is busy. */
#define POOL 4
struct pool {
    uv_sem_t gate;
    int n_done;
};

static void block(void *data)
{
    uv_sem_wait(&((struct pool *)data)->gate);
}

static void unblocked(void *data)
{
    ((struct pool *)data)->n_done++;
}

static void pool_block(struct rig *rig, struct pool *pool)
{
    *pool = (struct pool){.n_done = 0};
    assert_int_equal(uv_sem_init(&pool->gate, 0), 0);
    for (int i = 0; i < POOL; i++) {
        assert_int_equal(dc_work_submit(rig->f.loop, block, unblocked, pool), DC_OK);
    }
}

static void pool_open(struct rig *rig, struct pool *pool)
{
    for (int i = 0; i < POOL; i++) {
        uv_sem_post(&pool->gate);
    }
    RUN_UNTIL(&rig->f, pool->n_done == POOL);
    uv_sem_destroy(&pool->gate);
}

/* Until an answer waits for the pool. */
static struct dc_op *start_large(struct rig *rig)
{
    struct dc_op *op = start(rig, (struct dc_matrix_request){0});
    RUN_UNTIL(&rig->f, dc_loop_uv(rig->f.loop)->active_reqs.count > POOL && rig->n_asked == 1);
    return op;
}

static void a_large_answer_is_read_by_the_pool_and_ends_once(void **state)
{
    struct rig rig;
    struct pool pool;
    struct dc_strbuf body = {0};
    struct said large = {200, "application/json", NULL, NULL};
    (void)state;
    rig_open(&rig);
    write_large(&body, 200 * 1024);
    large.body = body.ptr;
    for (int i = 0; i < 3; i++) {
        rig_script(&rig, &large, 1);
        pool_block(&rig, &pool);
        struct dc_op *op = start_large(&rig);
        assert_int_equal(rig.out.n, 0); /* nobody else reads it */
        if (i == 1) {
            dc_op_cancel(op);
            dc_op_cancel(op);
        } else if (i == 2) {
            dc_matrix_close(rig.m);
        }
        assert_int_equal(rig.out.n, 0);
        pool_open(&rig, &pool);
        RUN_UNTIL(&rig.f, rig.out.n == 1);
        assert_int_equal(rig.out.st, i == 0 ? DC_OK : DC_CANCELED);
        assert_int_equal(rig.out.has_json, i == 0);
    }
    rig.m = NULL;
    dc_strbuf_free(&body);
    rig_close(&rig);
}

static void a_large_answer_that_is_no_json_is_a_bad_one(void **state)
{
    struct rig rig;
    struct dc_strbuf body = {0};
    struct said large = {200, "application/json", NULL, NULL};
    (void)state;
    rig_open(&rig);
    write_large(&body, 200 * 1024);
    body.ptr[body.len - 2] = ']';
    large.body = body.ptr;
    rig_script(&rig, &large, 1);
    call(&rig, (struct dc_matrix_request){0});
    assert_int_equal(rig.out.st, DC_UPSTREAM);
    assert_string_equal(rig.out.code, "matrix_bad_answer");
    assert_int_equal(rig.out.http, 200);
    dc_strbuf_free(&body);
    rig_close(&rig);
}

static void a_homeserver_that_hangs_costs_the_deadline_and_no_more(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    rig.holds = true;
    call(&rig, (struct dc_matrix_request){.deadline_ms = 50});
    assert_int_equal(rig.out.st, DC_TIMEOUT);
    assert_string_equal(rig.out.code, "matrix_timeout");
    RUN_UNTIL(&rig.f, rig.held == NULL);
    rig_close(&rig);
}

static void nobody_there_is_unavailable(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    fixture_stop(&rig.f);
    call(&rig, (struct dc_matrix_request){0});
    assert_int_equal(rig.out.st, DC_UNAVAILABLE);
    assert_string_equal(rig.out.code, "matrix_unavailable");
    rig_close(&rig);
}

static void cancelling_ends_a_call_once_while_it_runs_and_while_it_waits(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig);
    rig.holds = true;
    struct dc_op *op = start(&rig, (struct dc_matrix_request){0});
    RUN_UNTIL(&rig.f, rig.held != NULL);
    dc_op_cancel(op);
    dc_op_cancel(op);
    assert_int_equal(rig.out.n, 0);
    RUN_UNTIL(&rig.f, rig.out.n == 1);
    assert_int_equal(rig.out.st, DC_CANCELED);
    RUN_UNTIL(&rig.f, rig.held == NULL);
    rig.holds = false;
    SCRIPT(&rig, {429, "application/json", "{\"retry_after_ms\":10000}", NULL});
    struct dc_counter *waits = dc_metrics_counter(rig.f.metrics, "daarion_matrix_waits_total", NULL,
                                                  "Pauses that the homeserver asked for (429).");
    uint64_t before = waits->value;
    op = start(&rig, (struct dc_matrix_request){0});
    RUN_UNTIL(&rig.f, waits->value == before + 1);
    dc_op_cancel(op);
    assert_int_equal(rig.out.n, 0);
    RUN_UNTIL(&rig.f, rig.out.n == 1);
    assert_int_equal(rig.out.st, DC_CANCELED);
    assert_int_equal(rig.n_asked, 1);
    rig_close(&rig);
}

static void closing_ends_what_runs_and_what_waits_and_refuses_what_comes(void **state)
{
    struct rig rig;
    struct outcome waiting = {0};
    struct dc_error err = {0};
    (void)state;
    rig_open(&rig);
    SCRIPT(&rig, {429, "application/json", "{\"retry_after_ms\":10000}", NULL});
    struct dc_counter *waits = dc_metrics_counter(rig.f.metrics, "daarion_matrix_waits_total", NULL,
                                                  "Pauses that the homeserver asked for (429).");
    const struct dc_matrix_request request = {
        .name = "test", .method = "GET", .path = DC_S("/x"), .deadline_ms = LONG_MS};
    assert_int_equal(dc_matrix_call(rig.m, &request, on_outcome, &waiting, NULL, &err), DC_OK);
    RUN_UNTIL(&rig.f, waits->value == 1);
    rig.holds = true;
    start(&rig, (struct dc_matrix_request){0});
    RUN_UNTIL(&rig.f, rig.held != NULL);
    dc_matrix_close(rig.m);
    assert_int_equal(dc_matrix_call(rig.m, &request, on_outcome, &waiting, NULL, &err), DC_CLOSED);
    RUN_UNTIL(&rig.f, rig.out.n == 1 && waiting.n == 1);
    assert_int_equal(rig.out.st, DC_CANCELED);
    assert_int_equal(waiting.st, DC_CANCELED);
    rig.m = NULL;
    RUN_UNTIL(&rig.f, rig.held == NULL);
    rig_close(&rig);
}

static void a_token_that_would_break_the_header_is_refused(void **state)
{
    struct rig rig;
    struct dc_error err = {0};
    struct dc_op *op = NULL;
    (void)state;
    rig_open(&rig);
    const struct dc_matrix_request request = {.name = "test",
                                              .method = "GET",
                                              .path = DC_S("/x"),
                                              .deadline_ms = LONG_MS,
                                              .auth = {.token = DC_S("a\r\nX-Evil: 1")}};
    assert_int_equal(dc_matrix_call(rig.m, &request, on_outcome, &rig.out, &op, &err), DC_INVALID);
    assert_null(op);
    assert_null(strstr(err.text, "Evil"));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_carries_its_token_in_the_header_and_its_user_in_the_query),
        cmocka_unit_test(a_call_that_has_to_wait_is_made_again_after_the_pause_asked_for),
        cmocka_unit_test(no_pause_goes_beyond_the_callers_deadline),
        cmocka_unit_test(the_impatient_do_not_wait_and_the_header_counts_when_the_body_is_silent),
        cmocka_unit_test(without_a_number_it_backs_off_by_itself),
        cmocka_unit_test(answers_that_are_no_matrix_have_one_code),
        cmocka_unit_test(what_strangers_nest_deeply_does_not_spoil_an_answer),
        cmocka_unit_test(an_answer_that_is_too_large_is_not_kept),
        cmocka_unit_test(a_large_answer_is_read_by_the_pool_and_ends_once),
        cmocka_unit_test(a_large_answer_that_is_no_json_is_a_bad_one),
        cmocka_unit_test(a_homeserver_that_hangs_costs_the_deadline_and_no_more),
        cmocka_unit_test(nobody_there_is_unavailable),
        cmocka_unit_test(cancelling_ends_a_call_once_while_it_runs_and_while_it_waits),
        cmocka_unit_test(closing_ends_what_runs_and_what_waits_and_refuses_what_comes),
        cmocka_unit_test(a_token_that_would_break_the_header_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
