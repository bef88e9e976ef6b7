/* A second presence, written to be obvious instead of fast: plain tables, everything recomputed
 * after each operation, differences reported.  It shares no code with src/domain. */
#ifndef TESTS_UNIT_DOMAIN_PRESENCE_MODEL_H
#define TESTS_UNIT_DOMAIN_PRESENCE_MODEL_H

#include "base/strbuf.h"
#include "domain/presence.h"

/* More users than a sample names. */
enum { M_USERS = DC_PRESENCE_SAMPLE + 3, M_ROOMS = 5, M_SESSIONS = 10 };

/* A room; anybody may see the first DC_PRESENCE_SAMPLE of the lists. */
struct m_view {
    uint32_t online, away, n_typing;
    int typing[M_USERS], sample[M_USERS];
    int slug;
};

/* What is derived from the sources. */
struct m_derived {
    enum dc_presence_status status[M_USERS];
    enum dc_presence_status native[M_USERS]; /* whatever Matrix says */
    bool is_member[M_USERS][M_ROOMS];
    bool is_typing[M_USERS][M_ROOMS];
    struct m_view view[M_ROOMS];
    uint32_t online, away;
};

struct model {
    struct dc_presence_opts opts;
    int64_t now, utc;
    struct {
        bool is_alive, is_closing, has_joined[M_ROOMS];
        int user;
        enum dc_presence_status status;
        int64_t ends;
    } sessions[M_SESSIONS];
    enum dc_presence_status matrix_status[M_USERS];
    int64_t last_active[M_USERS];
    int name[M_USERS]; /* 0: empty */
    bool matrix_member[M_USERS][M_ROOMS];
    int64_t typing_until[M_USERS][M_ROOMS][2]; /* native, Matrix; INT64_MAX: no */
    uint64_t typing_since[M_USERS][M_ROOMS];
    uint64_t present_since[M_USERS][M_ROOMS];
    uint64_t next_since;
    struct {
        bool exists, was_published, is_waiting;
        int slug;
        int64_t window_end, last_event;
        struct m_view published;
    } rooms[M_ROOMS];
    struct dc_presence_totals published_totals;
    bool totals_were_published;
    int64_t totals_window_end, totals_due;
    bool are_leases_held;
    struct m_derived before; /* as of the end of the last operation */
    struct dc_strbuf log;    /* lines of the last operation, unsorted */
};

void model_init(struct model *m, const struct dc_presence_opts *opts);
void model_free(struct model *m);

/* An id that no core accepts, in a set of typing users. */
#define M_NOBODY (-1)

/* One operation is begin, one of the verbs, end. */
void model_begin(struct model *m, struct dc_presence_now now);
void model_end(struct model *m, bool is_tick);

enum dc_status model_room_add(struct model *m, int r, int slug);
void model_room_remove(struct model *m, int r);
enum dc_status model_beat(struct model *m, int s, int u, int name, enum dc_presence_status status);
enum dc_status model_join(struct model *m, int s, int r);
void model_leave(struct model *m, int s, int r);
void model_close(struct model *m, int s, bool is_final);
enum dc_status model_session_typing(struct model *m, int s, int r, bool is_typing);
enum dc_status model_matrix_status(struct model *m, int u, enum dc_presence_status status,
                                   int64_t last_active);
enum dc_status model_matrix_member(struct model *m, int u, int r, bool is_member);
enum dc_status model_matrix_typing(struct model *m, int r, const int *users, size_t n,
                                   int64_t ttl_ms);
void model_room_restate(struct model *m, int r);
void model_totals_restate(struct model *m);
void model_tick(struct model *m);
/* Looking. */
bool model_is_member(const struct model *m, int u, int r);
bool model_is_typing(const struct model *m, int u, int r);

bool model_knows_user(const struct model *m, int u);
int64_t model_next_due(const struct model *m);
/* One line about a room, as the log has it. */
void model_print_room(struct dc_strbuf *out, int r, const struct m_view *v, int64_t last_event);

#endif
