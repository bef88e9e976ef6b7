#include "presence_model.h"

#define NEVER INT64_MAX

void model_init(struct model *m, const struct dc_presence_opts *opts)
{
    memset(m, 0, sizeof(*m));
    m->opts = *opts;
    m->now = INT64_MIN;
    m->totals_due = NEVER;
    for (int u = 0; u < M_USERS; u++) {
        for (int r = 0; r < M_ROOMS; r++) {
            m->typing_until[u][r][0] = NEVER;
            m->typing_until[u][r][1] = NEVER;
        }
    }
}

void model_free(struct model *m)
{
    dc_strbuf_free(&m->log);
}

void model_begin(struct model *m, struct dc_presence_now now)
{
    m->now = now.mono.ms > m->now ? now.mono.ms : m->now;
    m->utc = now.utc.ms;
    dc_strbuf_clear(&m->log);
}

bool model_is_member(const struct model *m, int u, int r)
{
    bool by_session = false;
    for (int s = 0; s < M_SESSIONS; s++) {
        by_session = by_session || (m->sessions[s].is_alive && m->sessions[s].user == u &&
                                    m->sessions[s].has_joined[r]);
    }
    return m->rooms[r].exists && (by_session || m->matrix_member[u][r]);
}

static bool has_session_in(const struct model *m, int u, int r)
{
    for (int s = 0; s < M_SESSIONS; s++) {
        if (m->sessions[s].is_alive && m->sessions[s].user == u && m->sessions[s].has_joined[r]) {
            return true;
        }
    }
    return false;
}

bool model_is_typing(const struct model *m, int u, int r)
{
    return m->rooms[r].exists &&
           (m->typing_until[u][r][0] != NEVER || m->typing_until[u][r][1] != NEVER);
}

static enum dc_presence_status status_of(const struct model *m, int u,
                                         enum dc_presence_status by_matrix)
{
    enum dc_presence_status best = by_matrix;
    bool is_there = false;
    for (int s = 0; s < M_SESSIONS; s++) {
        if (m->sessions[s].is_alive && m->sessions[s].user == u) {
            is_there = true;
            if (m->sessions[s].status > best) {
                best = m->sessions[s].status; /* OFFLINE (passive) < AWAY < ONLINE */
            }
        }
    }
    return best == DC_PRESENCE_OFFLINE && is_there ? DC_PRESENCE_ONLINE : best;
}

bool model_knows_user(const struct model *m, int u)
{
    bool known = m->matrix_status[u] != DC_PRESENCE_OFFLINE;
    for (int s = 0; s < M_SESSIONS; s++) {
        known = known || (m->sessions[s].is_alive && m->sessions[s].user == u);
    }
    for (int r = 0; r < M_ROOMS; r++) {
        known = known || model_is_member(m, u, r) || model_is_typing(m, u, r);
    }
    return known;
}

static size_t n_users(const struct model *m)
{
    size_t n = 0;
    for (int u = 0; u < M_USERS; u++) {
        n += model_knows_user(m, u);
    }
    return n;
}

static bool is_user_refused(const struct model *m, int u)
{
    return !model_knows_user(m, u) && n_users(m) >= m->opts.max_users;
}

static bool is_room_refused(const struct model *m, int u, int r)
{
    size_t n = 0;
    for (int i = 0; i < M_ROOMS; i++) {
        n += model_is_member(m, u, i);
    }
    return !model_is_member(m, u, r) && n >= m->opts.max_rooms_per_user;
}

enum dc_status model_room_add(struct model *m, int r, int slug)
{
    if (!m->rooms[r].exists) {
        size_t n = 0;
        for (int i = 0; i < M_ROOMS; i++) {
            n += m->rooms[i].exists;
        }
        if (n >= m->opts.max_rooms) {
            return DC_LIMIT;
        }
        memset(&m->rooms[r], 0, sizeof(m->rooms[r]));
        m->rooms[r].exists = true;
    }
    m->rooms[r].slug = slug;
    if (!m->rooms[r].was_published) {
        m->rooms[r].published.slug = slug; /* nobody has seen another one */
    }
    return DC_OK;
}

void model_room_remove(struct model *m, int r)
{
    m->rooms[r].exists = false;
    m->rooms[r].is_waiting = false;
    for (int u = 0; u < M_USERS; u++) {
        m->matrix_member[u][r] = false;
        m->typing_until[u][r][0] = NEVER;
        m->typing_until[u][r][1] = NEVER;
        m->before.is_member[u][r] = false; /* without a word */
        m->before.is_typing[u][r] = false;
    }
    for (int s = 0; s < M_SESSIONS; s++) {
        m->sessions[s].has_joined[r] = false;
    }
}

enum dc_status model_beat(struct model *m, int s, int u, int name, enum dc_presence_status status)
{
    if (!m->sessions[s].is_alive) {
        size_t n = 0;
        for (int i = 0; i < M_SESSIONS; i++) {
            n += m->sessions[i].is_alive;
        }
        if (n >= m->opts.max_sessions || is_user_refused(m, u)) {
            return DC_LIMIT;
        }
        memset(&m->sessions[s], 0, sizeof(m->sessions[s]));
        m->sessions[s].is_alive = true;
        m->sessions[s].user = u;
        m->last_active[u] = m->utc;
    } else if (m->sessions[s].user != u) {
        return DC_CONFLICT;
    }
    m->sessions[s].status = status;
    m->sessions[s].is_closing = false;
    m->sessions[s].ends = m->now + (int64_t)m->opts.lease_ms;
    if (status == DC_PRESENCE_ONLINE) {
        m->last_active[u] = m->utc;
    }
    m->name[u] = name != 0 ? name : m->name[u];
    return DC_OK;
}

enum dc_status model_join(struct model *m, int s, int r)
{
    if (!m->sessions[s].is_alive || !m->rooms[r].exists) {
        return DC_NOT_FOUND;
    }
    if (is_room_refused(m, m->sessions[s].user, r)) {
        return DC_LIMIT;
    }
    m->sessions[s].has_joined[r] = true;
    return DC_OK;
}

void model_leave(struct model *m, int s, int r)
{
    if (m->sessions[s].is_alive && m->sessions[s].has_joined[r]) {
        int u = m->sessions[s].user;
        m->sessions[s].has_joined[r] = false;
        if (!has_session_in(m, u, r)) {
            m->typing_until[u][r][0] = NEVER;
        }
    }
}

static void end_session(struct model *m, int s)
{
    for (int r = 0; r < M_ROOMS; r++) {
        model_leave(m, s, r);
    }
    m->sessions[s].is_alive = false;
}

void model_close(struct model *m, int s, bool is_final)
{
    if (m->sessions[s].is_alive && is_final) {
        end_session(m, s);
    } else if (m->sessions[s].is_alive && !m->sessions[s].is_closing) {
        m->sessions[s].is_closing = true;
        m->sessions[s].ends = m->now + (int64_t)m->opts.close_grace_ms;
    }
}

static void set_typing(struct model *m, int u, int r, int source, int64_t until)
{
    if (!model_is_typing(m, u, r)) {
        m->typing_since[u][r] = ++m->next_since;
    }
    m->typing_until[u][r][source] = until;
}

enum dc_status model_session_typing(struct model *m, int s, int r, bool on)
{
    if (!m->sessions[s].is_alive || !m->rooms[r].exists ||
        !model_is_member(m, m->sessions[s].user, r)) {
        return DC_NOT_FOUND;
    }
    int u = m->sessions[s].user;
    if (on) {
        set_typing(m, u, r, 0, m->now + (int64_t)m->opts.typing_ms);
    } else {
        m->typing_until[u][r][0] = NEVER;
    }
    return DC_OK;
}

enum dc_status model_matrix_status(struct model *m, int u, enum dc_presence_status status,
                                   int64_t last_active)
{
    if (status == DC_PRESENCE_OFFLINE && !model_knows_user(m, u)) {
        return DC_OK;
    }
    if (is_user_refused(m, u)) {
        return DC_LIMIT;
    }
    m->matrix_status[u] = status;
    if (last_active > 0) {
        m->last_active[u] = last_active > m->last_active[u] ? last_active : m->last_active[u];
        m->last_active[u] = m->last_active[u] > m->utc ? m->utc : m->last_active[u];
    }
    return DC_OK;
}

enum dc_status model_matrix_member(struct model *m, int u, int r, bool on)
{
    if (!m->rooms[r].exists) {
        return DC_NOT_FOUND;
    }
    if (on) {
        if (is_user_refused(m, u) || is_room_refused(m, u, r)) {
            return DC_LIMIT;
        }
        m->matrix_member[u][r] = true;
        return DC_OK;
    }
    if (m->matrix_member[u][r] && !has_session_in(m, u, r)) {
        m->typing_until[u][r][0] = NEVER; /* the membership ends */
    }
    m->matrix_member[u][r] = false;
    m->typing_until[u][r][1] = NEVER;
    return DC_OK;
}

enum dc_status model_matrix_typing(struct model *m, int r, const int *users, size_t n,
                                   int64_t ttl_ms)
{
    if (!m->rooms[r].exists) {
        return DC_NOT_FOUND;
    }
    enum dc_status st = DC_OK;
    bool is_named[M_USERS] = {false};
    for (size_t i = 0; i < n; i++) {
        if (users[i] == M_NOBODY) {
            st = DC_INVALID;
            continue;
        }
        if (is_user_refused(m, users[i])) {
            st = DC_LIMIT;
            continue;
        }
        set_typing(m, users[i], r, 1, m->now + ttl_ms);
        is_named[users[i]] = true;
    }
    for (int u = 0; u < M_USERS; u++) {
        if (!is_named[u]) {
            m->typing_until[u][r][1] = NEVER;
        }
    }
    return st;
}

void model_room_restate(struct model *m, int r)
{
    if (!m->rooms[r].exists) {
        return;
    }
    m->rooms[r].is_waiting = false;
    m->rooms[r].was_published = true;
    m->rooms[r].published = m->before.view[r];
    m->rooms[r].window_end = m->now + (int64_t)m->opts.throttle_ms;
    model_print_room(&m->log, r, &m->before.view[r], m->rooms[r].last_event);
}

void model_totals_restate(struct model *m)
{
    m->published_totals = (struct dc_presence_totals){UINT32_MAX, UINT32_MAX};
    m->totals_were_published = false;
}

/* Whether a session's end counts now. */
static bool can_end(const struct model *m, int s)
{
    return m->sessions[s].is_alive && (m->sessions[s].is_closing || !m->are_leases_held);
}

void model_tick(struct model *m)
{
    for (int s = 0; s < M_SESSIONS; s++) {
        if (can_end(m, s) && m->sessions[s].ends <= m->now) {
            end_session(m, s);
        }
    }
    for (int u = 0; u < M_USERS; u++) {
        for (int r = 0; r < M_ROOMS; r++) {
            for (int source = 0; source < 2; source++) {
                if (m->typing_until[u][r][source] <= m->now) {
                    m->typing_until[u][r][source] = NEVER;
                }
            }
        }
    }
}

/* Users for whom since is set, smallest first. */
static uint32_t in_order(int r, uint64_t since[M_USERS][M_ROOMS], const bool is_in[M_USERS],
                         int out[M_USERS])
{
    uint32_t n = 0;
    for (int u = 0; u < M_USERS; u++) {
        if (!is_in[u]) {
            continue;
        }
        uint32_t at = n++;
        while (at > 0 && since[out[at - 1]][r] > since[u][r]) {
            out[at] = out[at - 1];
            at--;
        }
        out[at] = u;
    }
    return n;
}

static void derive(struct model *m, struct m_derived *d)
{
    memset(d, 0, sizeof(*d));
    for (int u = 0; u < M_USERS; u++) {
        d->status[u] = status_of(m, u, m->matrix_status[u]);
        d->native[u] = status_of(m, u, DC_PRESENCE_OFFLINE);
        d->online += d->status[u] != DC_PRESENCE_OFFLINE;
        d->away += d->status[u] == DC_PRESENCE_AWAY;
        for (int r = 0; r < M_ROOMS; r++) {
            d->is_member[u][r] = model_is_member(m, u, r);
            d->is_typing[u][r] = model_is_typing(m, u, r);
        }
    }
    for (int r = 0; r < M_ROOMS; r++) {
        struct m_view *v = &d->view[r];
        bool is_present[M_USERS], types[M_USERS];
        for (int u = 0; u < M_USERS; u++) {
            types[u] = d->is_typing[u][r];
            is_present[u] = d->is_member[u][r] && d->status[u] != DC_PRESENCE_OFFLINE;
            bool was_present =
                m->before.is_member[u][r] && m->before.status[u] != DC_PRESENCE_OFFLINE;
            if (is_present[u] && !was_present) {
                m->present_since[u][r] = ++m->next_since;
            }
            v->away += is_present[u] && d->status[u] == DC_PRESENCE_AWAY;
        }
        v->slug = m->rooms[r].slug;
        v->n_typing = in_order(r, m->typing_since, types, v->typing);
        v->online = in_order(r, m->present_since, is_present, v->sample);
    }
}

static uint32_t at_most(uint32_t n, uint32_t max)
{
    return n < max ? n : max;
}

/* Of the lists only the first max. */
static bool same_view(const struct m_view *a, const struct m_view *b, uint32_t max)
{
    return a->slug == b->slug && a->online == b->online && a->away == b->away &&
           a->n_typing == b->n_typing &&
           memcmp(a->typing, b->typing, at_most(a->n_typing, max) * sizeof(int)) == 0 &&
           memcmp(a->sample, b->sample, at_most(a->online, max) * sizeof(int)) == 0;
}

void model_print_room(struct dc_strbuf *out, int r, const struct m_view *v, int64_t last_event)
{
    dc_strbuf_printf(out, "room r%d slug%d %u/%u/%u", r, v->slug, v->online, v->away, v->n_typing);
    for (uint32_t i = 0; i < at_most(v->n_typing, DC_PRESENCE_SAMPLE); i++) {
        dc_strbuf_printf(out, " t%d", v->typing[i]);
    }
    for (uint32_t i = 0; i < at_most(v->online, DC_PRESENCE_SAMPLE); i++) {
        dc_strbuf_printf(out, " u%d", v->sample[i]);
    }
    dc_strbuf_printf(out, " at %lld\n", (long long)last_event);
}

static void print_user(struct model *m, int u, enum dc_presence_status status)
{
    dc_strbuf_printf(&m->log, "u%d name%d %s %lld\n", u, m->name[u],
                     dc_presence_status_word(status), (long long)m->last_active[u]);
}

static void report_people(struct model *m, const struct m_derived *d)
{
    const struct m_derived *b = &m->before;
    for (int u = 0; u < M_USERS; u++) {
        bool changed = d->status[u] != b->status[u];
        if (d->native[u] != b->native[u]) {
            dc_strbuf_add_z(&m->log, "natv ");
            print_user(m, u, d->native[u]);
        }
        if (changed) {
            dc_strbuf_add_z(&m->log, "user ");
            print_user(m, u, d->status[u]);
        }
        for (int r = 0; r < M_ROOMS; r++) {
            if (d->is_member[u][r] && !b->is_member[u][r]) {
                dc_strbuf_printf(&m->log, "join r%d ", r);
                print_user(m, u, d->status[u]);
            } else if (!d->is_member[u][r] && b->is_member[u][r]) {
                dc_strbuf_printf(&m->log, "left r%d ", r);
                print_user(m, u, b->status[u]);
            } else if (d->is_member[u][r] && changed) {
                dc_strbuf_printf(&m->log, "stat r%d ", r);
                print_user(m, u, d->status[u]);
            }
            if (d->is_typing[u][r] != b->is_typing[u][r]) {
                dc_strbuf_printf(&m->log, "type r%d %d ", r, d->is_typing[u][r]);
                print_user(m, u, b->status[u]);
            }
        }
    }
}

/* Two people may trade places (one away, one back) in a call: counts and lists stay as they were,
 * but something has happened in the room. */
static bool is_restated(const struct model *m, const struct m_derived *d, int r)
{
    for (int u = 0; u < M_USERS; u++) {
        if (d->is_member[u][r] && m->before.is_member[u][r] &&
            d->status[u] != m->before.status[u]) {
            return true;
        }
    }
    return false;
}

static void publish_rooms(struct model *m, const struct m_derived *d, bool is_tick)
{
    for (int r = 0; r < M_ROOMS; r++) {
        if (!m->rooms[r].exists) {
            continue;
        }
        struct m_view before = m->before.view[r];
        bool restated = is_restated(m, d, r);
        bool changed = !same_view(&before, &d->view[r], M_USERS) || restated;
        before.slug = d->view[r].slug;
        if (!same_view(&before, &d->view[r], M_USERS) || restated) {
            m->rooms[r].last_event = m->utc; /* something beside the slug */
        }
        bool is_over = !m->rooms[r].was_published || m->now >= m->rooms[r].window_end;
        if (!is_over) {
            m->rooms[r].is_waiting = m->rooms[r].is_waiting || changed;
            continue;
        }
        if (!changed && !is_tick) {
            continue;
        }
        m->rooms[r].is_waiting = false;
        if (!same_view(&m->rooms[r].published, &d->view[r], DC_PRESENCE_SAMPLE)) {
            m->rooms[r].published = d->view[r];
            m->rooms[r].was_published = true;
            m->rooms[r].window_end = m->now + (int64_t)m->opts.throttle_ms;
            model_print_room(&m->log, r, &d->view[r], m->rooms[r].last_event);
        }
    }
}

static void publish_totals(struct model *m, const struct m_derived *d)
{
    bool differs = d->online != m->published_totals.online || d->away != m->published_totals.away;
    bool is_over = !m->totals_were_published || m->now >= m->totals_window_end;
    m->totals_due = differs && !is_over ? m->totals_window_end : NEVER;
    if (differs && is_over) {
        m->published_totals = (struct dc_presence_totals){d->online, d->away};
        m->totals_were_published = true;
        m->totals_window_end = m->now + (int64_t)m->opts.throttle_ms;
        dc_strbuf_printf(&m->log, "city %u/%u\n", d->online, d->away);
    }
}

void model_end(struct model *m, bool is_tick)
{
    struct m_derived d;
    derive(m, &d);
    for (int r = 0; r < M_ROOMS; r++) {
        if (!m->rooms[r].was_published) {
            m->before.view[r].slug = d.view[r].slug; /* a slug nobody saw is no change */
        }
    }
    report_people(m, &d);
    publish_rooms(m, &d, is_tick);
    publish_totals(m, &d);
    m->before = d;
    for (int u = 0; u < M_USERS; u++) {
        if (!model_knows_user(m, u)) {
            m->last_active[u] = 0;
            m->name[u] = 0;
        }
    }
}

int64_t model_next_due(const struct model *m)
{
    int64_t due = m->totals_due;
    for (int s = 0; s < M_SESSIONS; s++) {
        if (can_end(m, s) && m->sessions[s].ends < due) {
            due = m->sessions[s].ends;
        }
    }
    for (int r = 0; r < M_ROOMS; r++) {
        for (int u = 0; u < M_USERS; u++) {
            for (int source = 0; source < 2; source++) {
                due = m->typing_until[u][r][source] < due ? m->typing_until[u][r][source] : due;
            }
        }
        if (m->rooms[r].exists && m->rooms[r].is_waiting && m->rooms[r].window_end < due) {
            due = m->rooms[r].window_end;
        }
    }
    return due;
}
