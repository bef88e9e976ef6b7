#include "presence_script.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WORDS_MAX 16

static void separate(struct script *s)
{
    if (s->log.len > 0) {
        dc_strbuf_add_z(&s->log, "; ");
    }
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct script *s = data;
    separate(s);
    dc_strbuf_add(&s->log, u->user_id);
    dc_strbuf_add_char(&s->log, '=');
    dc_strbuf_add_z(&s->log, dc_presence_status_word(u->status));
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    struct script *s = data;
    separate(s);
    dc_strbuf_add(&s->log, room_id);
    dc_strbuf_add_char(&s->log, change == DC_MEMBER_JOINED ? '+'
                                : change == DC_MEMBER_LEFT ? '-'
                                                           : '~');
    dc_strbuf_add(&s->log, u->user_id);
    if (change != DC_MEMBER_LEFT) {
        dc_strbuf_add_char(&s->log, ':');
        dc_strbuf_add_z(&s->log, dc_presence_status_word(u->status));
    }
}

static void on_typing(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      bool is_typing)
{
    struct script *s = data;
    separate(s);
    dc_strbuf_add(&s->log, room_id);
    dc_strbuf_add_char(&s->log, is_typing ? '*' : '.');
    dc_strbuf_add(&s->log, u->user_id);
}

static void add_ids(struct script *s, const struct dc_slice *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dc_strbuf_add_char(&s->log, i == 0 ? ' ' : ',');
        dc_strbuf_add(&s->log, ids[i]);
    }
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct script *s = data;
    separate(s);
    dc_strbuf_add(&s->log, r->room_id);
    dc_strbuf_printf(&s->log, "[%u/%u", r->online_count, r->away_count);
    if (r->typing_count > 0) {
        assert_true(r->n_typing_users <= r->typing_count);
        dc_strbuf_add_z(&s->log, " typing");
        add_ids(s, r->typing_users, r->n_typing_users);
    }
    dc_strbuf_add_char(&s->log, ']');
    add_ids(s, r->online_users, r->n_online_users);
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct script *s = data;
    separate(s);
    dc_strbuf_printf(&s->log, "city[%u/%u]", t->online, t->away);
}

static void on_native(void *data, const struct dc_presence_user_state *u)
{
    struct script *s = data;
    if (s->wants_native) {
        separate(s);
        dc_strbuf_add(&s->log, u->user_id);
        dc_strbuf_add_char(&s->log, '!');
        dc_strbuf_add_z(&s->log, dc_presence_status_word(u->status));
    }
}

struct dc_presence_opts script_opts(void)
{
    return (struct dc_presence_opts){
        .lease_ms = 40000,
        .close_grace_ms = 5000,
        .typing_ms = 6000,
        .throttle_ms = 3000,
        .max_users = 100,
        .max_rooms = 100,
        .max_sessions = 100,
        .max_rooms_per_user = 100,
        .hash_seed = {1, 2},
    };
}

struct dc_presence_now script_now(int64_t mono_ms)
{
    return (struct dc_presence_now){{mono_ms}, {1000000 + mono_ms}};
}

void script_open(struct script *s, const struct dc_presence_opts *opts)
{
    const struct dc_presence_callbacks cbs = {on_user, on_member, on_typing,
                                              on_room, on_totals, on_native};
    *s = (struct script){0};
    assert_int_equal(dc_presence_create(opts, &cbs, s, &s->core, NULL), DC_OK);
}

void script_close(struct script *s)
{
    dc_presence_destroy(s->core);
    dc_strbuf_free(&s->log);
}

static enum dc_presence_status status_of(struct dc_slice word)
{
    if (dc_slice_eq(word, DC_S("online"))) {
        return DC_PRESENCE_ONLINE;
    }
    if (dc_slice_eq(word, DC_S("away"))) {
        return DC_PRESENCE_AWAY;
    }
    assert_true(dc_slice_eq(word, DC_S("offline")) || dc_slice_eq(word, DC_S("passive")));
    return DC_PRESENCE_OFFLINE;
}

static int64_t number_of(struct dc_slice word)
{
    int64_t n = 0;
    assert_true(dc_slice_to_i64(word, &n));
    return n;
}

static enum dc_status run_session(struct dc_presence *p, struct dc_slice verb,
                                  const struct dc_slice *w, struct dc_presence_now now)
{
    if (dc_slice_eq(verb, DC_S("beat"))) {
        return dc_presence_session_beat(p, w[1], w[2], w[4], status_of(w[3]), now);
    }
    if (dc_slice_eq(verb, DC_S("join"))) {
        return dc_presence_session_join(p, w[1], w[2], now);
    }
    if (dc_slice_eq(verb, DC_S("type"))) {
        return dc_presence_session_typing(p, w[1], w[2], dc_slice_eq(w[3], DC_S("on")), now);
    }
    if (dc_slice_eq(verb, DC_S("leave"))) {
        dc_presence_session_leave(p, w[1], w[2], now);
    } else if (dc_slice_eq(verb, DC_S("close"))) {
        dc_presence_session_close(p, w[1], false, now);
    } else if (dc_slice_eq(verb, DC_S("end"))) {
        dc_presence_session_close(p, w[1], true, now);
    } else {
        fail_msg("unknown command %.*s", DC_SLICE_ARG(verb));
    }
    return DC_OK;
}

static enum dc_status run_command(struct dc_presence *p, const struct dc_slice *w, size_t n,
                                  struct dc_presence_now now)
{
    struct dc_slice verb = w[0];
    if (dc_slice_eq(verb, DC_S("tick"))) {
        int64_t due = dc_presence_tick(p, now);
        assert_int_equal(due, dc_presence_next_due_ms(p));
        assert_true(due > now.mono.ms);
        return DC_OK;
    }
    if (dc_slice_eq(verb, DC_S("room"))) {
        return dc_presence_room_add(p, w[1], w[2], now);
    }
    if (dc_slice_eq(verb, DC_S("unroom"))) {
        dc_presence_room_remove(p, w[1]);
        return DC_OK;
    }
    if (dc_slice_eq(verb, DC_S("hold"))) {
        dc_presence_hold_leases(p, dc_slice_eq(w[1], DC_S("on")));
        return DC_OK;
    }
    if (dc_slice_eq(verb, DC_S("restate"))) {
        if (dc_slice_eq(w[1], DC_S("city"))) {
            dc_presence_totals_restate(p, now);
        } else {
            dc_presence_room_restate(p, w[1], now);
        }
        return DC_OK;
    }
    if (dc_slice_eq(verb, DC_S("mx"))) {
        struct dc_utc active = {n > 3 ? number_of(w[3]) : 0};
        return dc_presence_matrix_status(p, w[1], status_of(w[2]), active, now);
    }
    if (dc_slice_eq(verb, DC_S("mxjoin")) || dc_slice_eq(verb, DC_S("mxleave"))) {
        return dc_presence_matrix_member(p, w[1], w[2], verb.len == 6, now);
    }
    if (dc_slice_eq(verb, DC_S("mxtype"))) {
        return dc_presence_matrix_typing(p, w[1], w + 3, n - 3, (uint64_t)number_of(w[2]), now);
    }
    return run_session(p, verb, w, now);
}

static enum dc_status run_step(struct script *s, const struct step *step)
{
    struct dc_slice words[WORDS_MAX] = {{NULL, 0}};
    struct dc_slice in = dc_slice_z(step->command);
    size_t n = 0;
    while (n < WORDS_MAX && dc_slice_take_token(&in, ' ', &words[n])) {
        if (dc_slice_eq(words[n], DC_S("-"))) {
            words[n].len = 0;
        }
        n++;
    }
    return run_command(s->core, words, n, script_now(step->at_ms));
}

void script_do(struct script *s, const struct step *step)
{
    enum dc_status st = run_step(s, step);
    if (st != DC_OK) {
        fail_msg("%s: status %s", step->command, dc_status_code(st));
    }
}

void script_run(struct script *s, const struct step *steps, size_t n_steps)
{
    for (size_t i = 0; i < n_steps; i++) {
        const struct step *step = &steps[i];
        dc_strbuf_clear(&s->log);
        enum dc_status st = run_step(s, step);
        dc_strbuf_add_char(&s->log, '\0');
        const char *expected = step->reports == NULL ? "" : step->reports;
        if (st != step->status || strcmp(s->log.ptr, expected) != 0) {
            fail_msg("step %zu (%lld %s): status %s, expected %s\n  reports  %s\n  expected %s", i,
                     (long long)step->at_ms, step->command, dc_status_code(st),
                     dc_status_code(step->status), s->log.ptr, expected);
        }
    }
}

void script_play(const struct step *steps, size_t n)
{
    struct script s;
    struct dc_presence_opts opts = script_opts();
    script_open(&s, &opts);
    script_run(&s, steps, n);
    script_close(&s);
}
