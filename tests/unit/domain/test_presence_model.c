/* The presence core against the model: random operations with random steps of time; after each one
 * everything that was reported, the time of the next tick and the whole visible state are equal.
 * PRESENCE_SEED=n replays one run. */
#include "base/random.h"
#include "presence_model.h"
#include "presence_script.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OPERATIONS = 50000, HISTORY = 30 };

struct rig {
    struct dc_presence *core;
    struct model model;
    struct dc_strbuf log; /* of the core, same form as the model's */
    uint64_t seed, random;
    int64_t mono, utc;
    int64_t mono_before, utc_before; /* as the model knew them in the operation before */
    char history[HISTORY][96];
    size_t n_done;
};

/* SplitMix64: small, and the same everywhere. */
static uint64_t next_random(struct rig *g)
{
    uint64_t z = (g->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int below(struct rig *g, int n)
{
    return (int)(next_random(g) % (uint64_t)n);
}

/* Ids of odd shapes: dots, wildcards, Unicode, a NUL. */
static const char *const user_ids[M_USERS] = {"u0", "@a:b.c", "*", ">", "юзер", "u.0/*"};
static const char *const room_ids[M_ROOMS] = {"r0", "r.1", "!r:x/y", "*.>", "кімната"};

static int index_of(const char *const *ids, int n, struct dc_slice id)
{
    for (int i = 0; i < n; i++) {
        if (dc_slice_eq(id, dc_slice_z(ids[i]))) {
            return i;
        }
    }
    return -1;
}

static int user_index(struct dc_slice id)
{
    return index_of(user_ids, M_USERS, id);
}

static struct dc_slice numbered(char *buf, size_t size, const char *prefix, int n)
{
    return dc_slice_make(buf, (size_t)snprintf(buf, size, "%s%d", prefix, n));
}

static int number_behind(struct dc_slice s, size_t prefix)
{
    int64_t n = 0;
    if (s.len > 0 && !dc_slice_to_i64(dc_slice_make(s.ptr + prefix, s.len - prefix), &n)) {
        return -1;
    }
    return (int)n;
}

static void print_user(struct rig *g, const struct dc_presence_user_state *u)
{
    dc_strbuf_printf(&g->log, "u%d name%d %s %lld\n", user_index(u->user_id),
                     number_behind(u->username, 1), dc_presence_status_word(u->status),
                     (long long)u->last_active.ms);
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct rig *g = data;
    dc_strbuf_add_z(&g->log, "user ");
    print_user(g, u);
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    static const char *const words[] = {"join", "left", "stat"};
    struct rig *g = data;
    dc_strbuf_printf(&g->log, "%s r%d ", words[change], index_of(room_ids, M_ROOMS, room_id));
    print_user(g, u);
}

static void on_typing(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      bool is_typing)
{
    struct rig *g = data;
    dc_strbuf_printf(&g->log, "type r%d %d ", index_of(room_ids, M_ROOMS, room_id), is_typing);
    print_user(g, u);
}

static void print_room(struct dc_strbuf *out, const struct dc_presence_room_state *r)
{
    struct m_view v = {.online = r->online_count,
                       .away = r->away_count,
                       .n_typing = r->typing_count,
                       .n_sample = (uint32_t)r->n_online_users,
                       .slug = number_behind(r->slug, 0)};
    assert_int_equal(r->typing_count, r->n_typing_users);
    for (size_t i = 0; i < r->n_typing_users; i++) {
        v.typing[i] = user_index(r->typing_users[i]);
    }
    for (size_t i = 0; i < r->n_online_users; i++) {
        v.sample[i] = user_index(r->online_users[i]);
    }
    model_print_room(out, index_of(room_ids, M_ROOMS, r->room_id), &v, r->last_event.ms);
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct rig *g = data;
    print_room(&g->log, r);
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct rig *g = data;
    dc_strbuf_printf(&g->log, "city %u/%u\n", t->online, t->away);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in alphabetical order: the model knows what is reported, scenario tests know the order. */
static void sort_lines(struct dc_strbuf *text)
{
    char *lines[256];
    size_t n = 0;
    dc_strbuf_add_char(text, '\0');
    char *rest = NULL;
    for (char *line = strtok_r(text->ptr, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(n < DC_ARRAY_LEN(lines));
        lines[n++] = line;
    }
    qsort(lines, n, sizeof(lines[0]), compare_lines);
    struct dc_strbuf sorted = {0};
    for (size_t i = 0; i < n; i++) {
        dc_strbuf_add_z(&sorted, lines[i]);
        dc_strbuf_add_char(&sorted, '\n');
    }
    dc_strbuf_add_char(&sorted, '\0');
    dc_strbuf_free(text);
    *text = sorted;
}

static void explain(struct rig *g, const char *what, const char *core, const char *model)
{
    print_error("seed %" PRIu64 ", operation %zu: %s\ncore:\n%s\nmodel:\n%s\nlast operations:\n",
                g->seed, g->n_done, what, core, model);
    for (size_t i = g->n_done < HISTORY ? 0 : g->n_done - HISTORY; i < g->n_done; i++) {
        print_error("  %s\n", g->history[i % HISTORY]);
    }
    fail();
}

static void explain_numbers(struct rig *g, const char *what, int64_t core, int64_t model)
{
    if (core != model) {
        char a[32], b[32];
        snprintf(a, sizeof(a), "%" PRId64, core);
        snprintf(b, sizeof(b), "%" PRId64, model);
        explain(g, what, a, b);
    }
}

DC_PRINTF(2, 3) static void note(struct rig *g, const char *fmt, ...)
{
    char *line = g->history[g->n_done % HISTORY];
    int n = snprintf(line, 96, "mono %" PRId64 " utc %" PRId64 " ", g->mono, g->utc);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + n, 96 - (size_t)n, fmt, args);
    va_end(args);
}

static enum dc_presence_status random_status(struct rig *g)
{
    return (enum dc_presence_status)below(g, 3);
}

static void op_typing_set(struct rig *g, struct dc_presence_now now, enum dc_status *core,
                          enum dc_status *model)
{
    int users[8];
    struct dc_slice ids[8];
    size_t n = (size_t)below(g, 5);
    for (size_t i = 0; i < n; i++) {
        users[i] = below(g, M_USERS);
        ids[i] = dc_slice_z(user_ids[users[i]]);
    }
    int r = below(g, M_ROOMS);
    int64_t ttl = 1 + below(g, 20000);
    note(g, "mxtype r%d n=%zu %d %d %d ttl %" PRId64, r, n, n > 0 ? users[0] : -1,
         n > 1 ? users[1] : -1, n > 2 ? users[2] : -1, ttl);
    *core = dc_presence_matrix_typing(g->core, dc_slice_z(room_ids[r]), ids, n, (uint64_t)ttl, now);
    *model = model_matrix_typing(&g->model, r, users, n, ttl);
}

/* True when it was a tick. */
static bool operate(struct rig *g, struct dc_presence_now now, enum dc_status *core,
                    enum dc_status *model)
{
    int s = below(g, M_SESSIONS), u = below(g, M_USERS), r = below(g, M_ROOMS);
    bool on = below(g, 2) == 0;
    char sbuf[16], nbuf[16];
    struct dc_slice sid = numbered(sbuf, sizeof(sbuf), "s", s);
    struct dc_slice uid = dc_slice_z(user_ids[u]);
    struct dc_slice rid = dc_slice_z(room_ids[r]);
    struct dc_presence *p = g->core;
    struct model *m = &g->model;
    *core = DC_OK;
    *model = DC_OK;
    int dice = below(g, 100);
    if (dice < 22) {
        /* Mostly the session's own user; sometimes somebody else tries. */
        u = below(g, 10) == 0 ? u : s % M_USERS;
        int name = below(g, 4);
        enum dc_presence_status status = (enum dc_presence_status)below(g, 3);
        struct dc_slice username =
            name == 0 ? DC_SLICE_NULL : numbered(nbuf, sizeof(nbuf), "n", name);
        note(g, "beat s%d u%d n%d %s", s, u, name, dc_presence_status_word(status));
        *core = dc_presence_session_beat(p, sid, dc_slice_z(user_ids[u]), username, status, now);
        *model = model_beat(m, s, u, name, status);
    } else if (dice < 36) {
        note(g, "join s%d r%d", s, r);
        *core = dc_presence_session_join(p, sid, rid, now);
        *model = model_join(m, s, r);
    } else if (dice < 42) {
        note(g, "leave s%d r%d", s, r);
        dc_presence_session_leave(p, sid, rid, now);
        model_leave(m, s, r);
    } else if (dice < 47) {
        note(g, "close s%d final %d", s, on);
        dc_presence_session_close(p, sid, on, now);
        model_close(m, s, on);
    } else if (dice < 58) {
        note(g, "type s%d r%d %d", s, r, on);
        *core = dc_presence_session_typing(p, sid, rid, on, now);
        *model = model_session_typing(m, s, r, on);
    } else if (dice < 66) {
        enum dc_presence_status status = random_status(g);
        int64_t active = on ? 0 : g->utc + below(g, 2000) - 1000;
        note(g, "mx u%d %s %" PRId64, u, dc_presence_status_word(status), active);
        *core = dc_presence_matrix_status(p, uid, status, (struct dc_utc){active}, now);
        *model = model_matrix_status(m, u, status, active);
    } else if (dice < 76) {
        note(g, "mxmember u%d r%d %d", u, r, on);
        *core = dc_presence_matrix_member(p, uid, rid, on, now);
        *model = model_matrix_member(m, u, r, on);
    } else if (dice < 81) {
        op_typing_set(g, now, core, model);
    } else if (dice < 84) {
        int slug = below(g, 3);
        note(g, "room r%d slug %d", r, slug);
        *core = dc_presence_room_add(p, rid, numbered(nbuf, sizeof(nbuf), "", slug), now);
        *model = model_room_add(m, r, slug);
    } else if (dice < 85) {
        note(g, "unroom r%d", r);
        dc_presence_room_remove(p, rid); /* takes no time: that of the call before counts */
        m->now = g->mono_before;
        m->utc = g->utc_before;
        model_room_remove(m, r);
    } else {
        note(g, "tick");
        int64_t due = dc_presence_tick(p, now);
        explain_numbers(g, "tick's answer", due, dc_presence_next_due_ms(p));
        model_tick(m);
        return true;
    }
    return false;
}

static void take_time(struct rig *g)
{
    static const int64_t steps[] = {0, 0, 0, 1, 50, 400, 1500, 3000, 3001, 6000};
    int dice = below(g, 40);
    if (dice == 0) {
        g->mono -= below(g, 5000); /* must count as standing still */
    } else if (dice == 1) {
        g->mono += below(g, 60000);
    } else if (dice == 2 && dc_presence_next_due_ms(g->core) != INT64_MAX) {
        g->mono = dc_presence_next_due_ms(g->core) - below(g, 2); /* right on the edge */
    } else {
        g->mono += steps[below(g, (int)DC_ARRAY_LEN(steps))];
    }
    g->utc = below(g, 50) == 0 ? below(g, 2000000) : g->utc + below(g, 2000);
}

static void compare_state(struct rig *g)
{
    struct model *m = &g->model;
    explain_numbers(g, "next due", dc_presence_next_due_ms(g->core), model_next_due(m));
    size_t users = 0, sessions = 0, rooms = 0, memberships = 0, typing = 0;
    for (int u = 0; u < M_USERS; u++) {
        users += model_knows_user(m, u);
        explain_numbers(g, "status of a user",
                        (int64_t)dc_presence_user_get(g->core, dc_slice_z(user_ids[u])),
                        (int64_t)m->before.status[u]);
    }
    for (int s = 0; s < M_SESSIONS; s++) {
        sessions += m->sessions[s].is_alive;
    }
    for (int r = 0; r < M_ROOMS; r++) {
        struct dc_presence_room_state state;
        bool exists = dc_presence_room_get(g->core, dc_slice_z(room_ids[r]), &state);
        explain_numbers(g, "known rooms", exists, m->rooms[r].exists);
        rooms += exists;
        if (!exists) {
            continue;
        }
        struct dc_strbuf a = {0}, b = {0};
        print_room(&a, &state);
        model_print_room(&b, r, &m->before.view[r], m->rooms[r].last_event);
        if (!dc_slice_eq(dc_strbuf_slice(&a), dc_strbuf_slice(&b))) {
            dc_strbuf_add_char(&a, '\0');
            dc_strbuf_add_char(&b, '\0');
            explain(g, "true state of a room", a.ptr, b.ptr);
        }
        dc_strbuf_free(&a);
        dc_strbuf_free(&b);
        for (int u = 0; u < M_USERS; u++) {
            memberships += m->before.is_member[u][r];
            typing += m->before.is_typing[u][r];
        }
    }
    struct dc_presence_counts n = dc_presence_counts_get(g->core);
    explain_numbers(g, "users kept", (int64_t)n.users, (int64_t)users);
    explain_numbers(g, "sessions kept", (int64_t)n.sessions, (int64_t)sessions);
    explain_numbers(g, "rooms kept", (int64_t)n.rooms, (int64_t)rooms);
    explain_numbers(g, "memberships kept", (int64_t)n.memberships, (int64_t)memberships);
    explain_numbers(g, "typing kept", (int64_t)n.typing, (int64_t)typing);
    explain_numbers(g, "totals", dc_presence_totals_get(g->core).online, m->before.online);
    explain_numbers(g, "totals away", dc_presence_totals_get(g->core).away, m->before.away);
}

static void look_at_user(void *data, const struct dc_presence_user_state *u)
{
    (void)data;
    assert_true(user_index(u->user_id) >= 0);
    assert_int_not_equal(u->status, DC_PRESENCE_OFFLINE);
}

static void look_at_room(void *data, struct dc_slice room_id, struct dc_slice slug)
{
    (void)data;
    (void)slug;
    assert_true(index_of(room_ids, M_ROOMS, room_id) >= 0);
}

/* Walks go on beside everything else, a step at a time, and nobody notices. */
static void walk_on(struct rig *g)
{
    const char *room = room_ids[below(g, M_ROOMS)];
    bool restarts = below(g, 8) == 0;
    (void)dc_presence_walk_users(g->core, restarts, 1, look_at_user, g);
    (void)dc_presence_walk_rooms(g->core, restarts, 1, look_at_room, g);
    (void)dc_presence_walk_members(g->core, dc_slice_z(room), restarts, 1, look_at_user, g);
}

static void run(uint64_t seed, const struct dc_presence_opts *opts)
{
    struct rig *g = calloc(1, sizeof(*g));
    assert_non_null(g);
    g->seed = seed;
    g->random = seed;
    g->utc = 1000000;
    const struct dc_presence_callbacks cbs = {on_user, on_member, on_typing,
                                              on_room, on_totals, NULL};
    assert_int_equal(dc_presence_create(opts, &cbs, g, &g->core, NULL), DC_OK);
    model_init(&g->model, opts);
    while (g->n_done < OPERATIONS) {
        take_time(g);
        struct dc_presence_now now = {{g->mono}, {g->utc}};
        enum dc_status core, model;
        dc_strbuf_clear(&g->log);
        g->mono_before = g->model.now;
        g->utc_before = g->model.utc;
        model_begin(&g->model, now);
        walk_on(g);
        bool is_tick = operate(g, now, &core, &model);
        model_end(&g->model, is_tick);
        g->n_done++;
        explain_numbers(g, "status of the call", core, model);
        sort_lines(&g->log);
        sort_lines(&g->model.log);
        if (strcmp(g->log.ptr, g->model.log.ptr) != 0) {
            explain(g, "reports", g->log.ptr, g->model.log.ptr);
        }
        compare_state(g);
    }
    dc_presence_destroy(g->core);
    model_free(&g->model);
    dc_strbuf_free(&g->log);
    free(g);
}

static void run_seeds(const struct dc_presence_opts *opts)
{
    const char *given = getenv("PRESENCE_SEED");
    if (given != NULL) {
        run(strtoull(given, NULL, 10), opts);
        return;
    }
    run(1, opts);
    run(dc_random_u64(NULL), opts); /* printed if it fails */
}

static void the_core_agrees_with_the_model(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    run_seeds(&opts);
}

static void the_core_agrees_with_the_model_at_its_limits(void **state)
{
    (void)state;
    struct dc_presence_opts opts = script_opts();
    opts.max_users = M_USERS - 2;
    opts.max_rooms = M_ROOMS - 1;
    opts.max_sessions = M_SESSIONS - 4;
    opts.max_rooms_per_user = 2;
    run_seeds(&opts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_core_agrees_with_the_model),
        cmocka_unit_test(the_core_agrees_with_the_model_at_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
