#include "presence_rig.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Ids of odd shapes: dots, wildcards, Unicode, a NUL, nothing but blanks, the longest; then plain
 * ones. */
#define TEXT_25 "0123456789abcdefghijklmno"
#define TEXT_255                                                                                   \
    TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 TEXT_25 "01234"
#define ID(lit)                                                                                    \
    {                                                                                              \
        "" lit, sizeof(lit) - 1                                                                    \
    }
struct dc_slice rig_user(int u)
{
    static const struct dc_slice odd[] = {
        ID("@a:b.c"),   ID("*"),      ID(">"),    ID("\xd1\x8e\xd0\xb7\xd0\xb5\xd1\x80"),
        ID("u.0/*"),    ID("a\0b"),   ID("a\0c"), ID("  "),
        ID("\xff\xfe"), ID(TEXT_255),
    };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    _Static_assert(M_USERS <= DC_ARRAY_LEN(letters) - 1, "a letter each");
    return u < (int)DC_ARRAY_LEN(odd) ? odd[u] : dc_slice_make(&letters[u], 1);
}

struct dc_slice rig_room(int r)
{
    static const struct dc_slice odd[M_ROOMS] = {ID("r.1"), ID("!r:x/y"), ID("*.>"),
                                                 ID("\xd0\xba\0"), ID(TEXT_255)};
    return odd[r];
}

/* None of them is an id. */
struct dc_slice rig_bad_id(int n)
{
    return n % 2 == 0 ? DC_SLICE_NULL : DC_S(TEXT_255 "x");
}

static int index_of(struct dc_slice (*id_at)(int i), int n, struct dc_slice id)
{
    for (int i = 0; i < n; i++) {
        if (dc_slice_eq(id, id_at(i))) {
            return i;
        }
    }
    return -1;
}

int rig_room_index(struct dc_slice id)
{
    return index_of(rig_room, M_ROOMS, id);
}

int rig_user_index(struct dc_slice id)
{
    return index_of(rig_user, M_USERS, id);
}

struct dc_slice rig_text(char *buf, size_t size, const char *prefix, int n)
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
    dc_strbuf_printf(&g->log, "u%d name%d %s %lld\n", rig_user_index(u->user_id),
                     number_behind(u->username, 1), dc_presence_status_word(u->status),
                     (long long)u->last_active.ms);
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct rig *g = data;
    dc_strbuf_add_z(&g->log, "user ");
    print_user(g, u);
}

static void on_native(void *data, const struct dc_presence_user_state *u)
{
    struct rig *g = data;
    dc_strbuf_add_z(&g->log, "natv ");
    print_user(g, u);
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    static const char *const words[] = {"join", "left", "stat"};
    struct rig *g = data;
    dc_strbuf_printf(&g->log, "%s r%d ", words[change], rig_room_index(room_id));
    print_user(g, u);
}

static void on_typing(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      bool is_typing)
{
    struct rig *g = data;
    dc_strbuf_printf(&g->log, "type r%d %d ", rig_room_index(room_id), is_typing);
    print_user(g, u);
}

static void print_room(struct dc_strbuf *out, const struct dc_presence_room_state *r)
{
    struct m_view v = {.online = r->online_count,
                       .away = r->away_count,
                       .n_typing = r->typing_count,
                       .slug = number_behind(r->slug, 0)};
    assert_int_equal(r->n_typing_users,
                     r->typing_count < DC_PRESENCE_SAMPLE ? r->typing_count : DC_PRESENCE_SAMPLE);
    assert_int_equal(r->n_online_users,
                     r->online_count < DC_PRESENCE_SAMPLE ? r->online_count : DC_PRESENCE_SAMPLE);
    for (size_t i = 0; i < r->n_typing_users; i++) {
        v.typing[i] = rig_user_index(r->typing_users[i]);
    }
    for (size_t i = 0; i < r->n_online_users; i++) {
        v.sample[i] = rig_user_index(r->online_users[i]);
    }
    model_print_room(out, rig_room_index(r->room_id), &v, r->last_event.ms);
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
    for (size_t i = g->n_done < RIG_HISTORY ? 0 : g->n_done - RIG_HISTORY; i < g->n_done; i++) {
        print_error("  %s\n", g->history[i % RIG_HISTORY]);
    }
    fail();
}

void rig_same(struct rig *g, const char *what, int64_t core, int64_t model)
{
    if (core != model) {
        char a[32], b[32];
        snprintf(a, sizeof(a), "%" PRId64, core);
        snprintf(b, sizeof(b), "%" PRId64, model);
        explain(g, what, a, b);
    }
}

void rig_note(struct rig *g, const char *fmt, ...)
{
    char *line = g->history[g->n_done % RIG_HISTORY];
    int n = snprintf(line, 96, "mono %" PRId64 " utc %" PRId64 " ", g->mono, g->utc);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + n, 96 - (size_t)n, fmt, args);
    va_end(args);
}
struct dc_slice rig_session(int s)
{
    static char buf[16];
    return rig_text(buf, sizeof(buf), "s.", s);
}

static void compare_user(struct rig *g, int u)
{
    const struct model *m = &g->model;
    struct dc_presence_user_state state = {.status = DC_PRESENCE_OFFLINE};
    bool is_known = dc_presence_user_find_state(g->core, rig_user(u), &state);
    rig_same(g, "known users", is_known, model_knows_user(m, u));
    rig_same(g, "status of a user", (int64_t)dc_presence_user_get(g->core, rig_user(u)),
             (int64_t)m->before.status[u]);
    if (is_known) {
        rig_same(g, "state of a user", (int64_t)state.status, (int64_t)m->before.status[u]);
        rig_same(g, "name of a user", number_behind(state.username, 1), m->name[u]);
        rig_same(g, "activity of a user", state.last_active.ms, m->last_active[u]);
    }
    rig_same(g, "what Matrix says", (int64_t)dc_presence_matrix_get(g->core, rig_user(u)),
             (int64_t)m->matrix_status[u]);
    for (int r = 0; r < M_ROOMS; r++) {
        rig_same(g, "membership", dc_presence_is_member(g->core, rig_user(u), rig_room(r)),
                 m->before.is_member[u][r]);
        rig_same(g, "typing", dc_presence_is_typing(g->core, rig_user(u), rig_room(r)),
                 m->before.is_typing[u][r]);
    }
}

static void mark_room(void *data, struct dc_slice room, struct dc_slice slug)
{
    unsigned *rooms = data;
    (void)slug;
    *rooms += 1U << (4 * rig_room_index(room)); /* a digit each, to see one that is named twice */
}

static void compare_session(struct rig *g, int s)
{
    const struct model *m = &g->model;
    unsigned rooms = 0, expected = 0;
    dc_presence_session_rooms(g->core, rig_session(s), mark_room, &rooms);
    for (int r = 0; r < M_ROOMS; r++) {
        expected += m->sessions[s].is_alive && m->sessions[s].has_joined[r] ? 1U << (4 * r) : 0;
    }
    rig_same(g, "rooms of a session", rooms, expected);
    rig_same(g, "known sessions", dc_presence_session_is_known(g->core, rig_session(s)),
             m->sessions[s].is_alive);
}

/* Who is named, one after the other. */
struct row {
    size_t n;
    int users[M_USERS + 1];
};

static void add_to_row(void *data, const struct dc_presence_user_state *u)
{
    struct row *row = data;
    assert_true(row->n < DC_ARRAY_LEN(row->users));
    row->users[row->n++] = rig_user_index(u->user_id);
}

/* All who are present, in order, seen at once and by walking. */
static void compare_people(struct rig *g, int r)
{
    const struct m_view *v = &g->model.before.view[r];
    struct row seen = {0}, walked = {0};
    bool is_idle = v->n_typing == 0;
    for (int u = 0; u < M_USERS; u++) {
        is_idle = is_idle && !g->model.before.is_member[u][r];
    }
    rig_same(g, "idle rooms", dc_presence_room_is_idle(g->core, rig_room(r)), is_idle);
    dc_presence_room_members(g->core, rig_room(r), SIZE_MAX, add_to_row, &seen);
    rig_same(g, "people of a room", (int64_t)seen.n, v->online);
    for (uint32_t i = 0; i < v->online; i++) {
        rig_same(g, "order of people", seen.users[i], v->sample[i]);
    }
    if (g->n_done % 16 == 0) { /* it ends whatever walk there was */
        (void)dc_presence_walk_members(g->core, rig_room(r), true, SIZE_MAX, add_to_row, &walked);
        rig_same(g, "walked people", (int64_t)walked.n, v->online);
        rig_same(g, "order of walked people", memcmp(walked.users, seen.users, sizeof(seen.users)),
                 0);
    }
}

void rig_compare_state(struct rig *g)
{
    struct model *m = &g->model;
    rig_same(g, "next due", dc_presence_next_due_ms(g->core), model_next_due(m));
    size_t users = 0, sessions = 0, rooms = 0, memberships = 0, typing = 0;
    for (int u = 0; u < M_USERS; u++) {
        users += model_knows_user(m, u);
        compare_user(g, u);
    }
    for (int s = 0; s < M_SESSIONS; s++) {
        sessions += m->sessions[s].is_alive;
        compare_session(g, s);
    }
    for (int r = 0; r < M_ROOMS; r++) {
        struct dc_presence_room_state state;
        bool exists = dc_presence_room_get(g->core, rig_room(r), &state);
        rig_same(g, "known rooms", exists, m->rooms[r].exists);
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
        compare_people(g, r);
    }
    struct dc_presence_counts n = dc_presence_counts_get(g->core);
    rig_same(g, "users kept", (int64_t)n.users, (int64_t)users);
    rig_same(g, "sessions kept", (int64_t)n.sessions, (int64_t)sessions);
    rig_same(g, "rooms kept", (int64_t)n.rooms, (int64_t)rooms);
    rig_same(g, "memberships kept", (int64_t)n.memberships, (int64_t)memberships);
    rig_same(g, "typing kept", (int64_t)n.typing, (int64_t)typing);
    rig_same(g, "totals", dc_presence_totals_get(g->core).online, m->before.online);
    rig_same(g, "totals away", dc_presence_totals_get(g->core).away, m->before.away);
}

const struct dc_presence_callbacks rig_callbacks = {on_user, on_member, on_typing,
                                                    on_room, on_totals, on_native};

void rig_compare_reports(struct rig *g)
{
    sort_lines(&g->log);
    sort_lines(&g->model.log);
    if (strcmp(g->log.ptr, g->model.log.ptr) != 0) {
        explain(g, "reports", g->log.ptr, g->model.log.ptr);
    }
}
