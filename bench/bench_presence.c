/* Presence core at the size of a large city: 10,000 rooms, 20 rooms a user, with 20,000 and with
 * 200,000 users (4 million memberships), one core of the machine.  Time is virtual: 100,000 events
 * are one second, ticks come when they are due, so rooms are published as often as they would be.
 * Users come in random order and whatever was made together is spread over memory, as in life.
 *
 * Prints events per second of CPU time, and bytes: as the core counts them, as malloc does, and
 * resident.  Fails when a status change reports more than its user's rooms, when a room publishes
 * more than once in a window, or when something needs more memory than is stated below; never by
 * time.
 *
 * bench_presence [users [rooms [rooms of a user]]] */
#include "base/mem.h"
#include "domain/presence.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EVENTS          500000
#define EVENTS_A_SECOND 100000
#define STORM           10000
#define WINDOW_MS       3000

/* Stated, with ids of 28 bytes: upper bounds of a room that has been published, a user with a
 * session, a user of Matrix, a membership (by a session: with its place in the session's list). The
 * tables of users and sessions grow by doubling, so that there are up to 2.7 slots for each. */
#define ROOM_MAX_BYTES              1000
#define USER_MAX_BYTES              520
#define MATRIX_USER_MAX_BYTES       260
#define MEMBERSHIP_MAX_BYTES        85
#define MATRIX_MEMBERSHIP_MAX_BYTES 66

struct bench {
    struct dc_presence *core;
    int n_users, n_rooms, n_joins;
    int64_t virtual_us;
    uint64_t random;
    bool *is_other; /* by user: what the events of a phase toggle */
    struct room {
        int64_t published_ms;
        uint32_t online;
    } * rooms;
    uint64_t n_user, n_member, n_room, n_totals;
    uint64_t checksum; /* so that states are really looked at */
};

DC_PRINTF(2, 3) static void check(bool is_so, const char *fmt, ...)
{
    if (is_so) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    fputs("does not hold: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t next_random(struct bench *b)
{
    uint64_t z = (b->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, resident = 0;
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (double)resident * 4096;
}

static double allocated_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd);
}

static void on_user(void *data, const struct dc_presence_user_state *u)
{
    struct bench *b = data;
    b->n_user++;
    b->checksum += u->user_id.len;
}

static void on_member(void *data, struct dc_slice room_id, const struct dc_presence_user_state *u,
                      enum dc_presence_member_change change)
{
    struct bench *b = data;
    b->n_member++;
    b->checksum += room_id.len + u->user_id.len + (uint64_t)change;
}

/* At the end of an id. */
static int number_of(struct dc_slice id)
{
    int n = 0;
    for (size_t i = id.len - 9; i < id.len; i++) {
        n = 10 * n + (id.ptr[i] - '0');
    }
    return n;
}

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct bench *b = data;
    struct room *room = &b->rooms[number_of(r->room_id)];
    int64_t ms = b->virtual_us / 1000;
    check(room->published_ms == INT64_MIN || ms - room->published_ms >= WINDOW_MS,
          "a room published twice in a window");
    room->published_ms = ms;
    room->online = r->online_count;
    b->n_room++;
    b->checksum += r->online_count + r->n_online_users;
}

static void on_totals(void *data, const struct dc_presence_totals *t)
{
    struct bench *b = data;
    b->n_totals++;
    b->checksum += t->online;
}

static struct dc_slice name(char buf[40], const char *prefix, int n)
{
    /* As long as a real id: prefix and 26 letters. */
    return dc_slice_make(buf, (size_t)snprintf(buf, 40, "%s%026d", prefix, n));
}

static struct dc_presence_now now(const struct bench *b)
{
    int64_t ms = b->virtual_us / 1000;
    return (struct dc_presence_now){{ms}, {1700000000000 + ms}};
}

static void must(enum dc_status st)
{
    if (st != DC_OK) {
        fprintf(stderr, "unexpected: %s\n", dc_status_code(st));
        exit(1);
    }
}

static void tick_if_due(struct bench *b)
{
    b->virtual_us += 1000000 / EVENTS_A_SECOND;
    if (dc_presence_next_due_ms(b->core) <= b->virtual_us / 1000) {
        (void)dc_presence_tick(b->core, now(b));
    }
}

static void report(const struct bench *b, const char *what, uint64_t events, double seconds,
                   const struct bench *before)
{
    printf("  %-46s %9.0f /s %6.2f us each; %5.1f member and %5.2f room reports\n", what,
           (double)events / seconds, seconds * 1e6 / (double)events,
           (double)(b->n_member - before->n_member) / (double)events,
           (double)(b->n_room - before->n_room) / (double)events);
}

static int room_of(const struct bench *b, int user, int k)
{
    return (int)(((int64_t)user * 7919 + (int64_t)k * 499) % b->n_rooms);
}

/* --- events: each changes something, unless its name says otherwise --- */

typedef void (*event_cb)(struct bench *b, int user, uint64_t r);

static bool toggle(struct bench *b, int user)
{
    b->is_other[user] = !b->is_other[user];
    return b->is_other[user];
}

static void beat(struct bench *b, int user, enum dc_presence_status status)
{
    char sid[40], uid[40];
    must(dc_presence_session_beat(b->core, name(sid, "s_", user), name(uid, "u_", user),
                                  DC_S("Somebody"), status, now(b)));
}

static void ev_renew(struct bench *b, int user, uint64_t r)
{
    (void)r;
    beat(b, user, DC_PRESENCE_ONLINE);
}

static void ev_away(struct bench *b, int user, uint64_t r)
{
    (void)r;
    beat(b, user, toggle(b, user) ? DC_PRESENCE_AWAY : DC_PRESENCE_ONLINE);
}

static void ev_typing(struct bench *b, int user, uint64_t r)
{
    char sid[40], rid[48];
    int room = room_of(b, user, (int)(r % (uint64_t)b->n_joins));
    must(dc_presence_session_typing(b->core, name(sid, "s_", user), name(rid, "room_", room),
                                    r % 3 != 0, now(b)));
}

static void ev_leave_or_join(struct bench *b, int user, uint64_t r)
{
    char sid[40], rid[48];
    struct dc_slice session = name(sid, "s_", user);
    struct dc_slice room = name(rid, "room_", room_of(b, user, 0));
    (void)r;
    if (toggle(b, user)) {
        dc_presence_session_leave(b->core, session, room, now(b));
    } else {
        must(dc_presence_session_join(b->core, session, room, now(b)));
    }
}

static void matrix(struct bench *b, int user, enum dc_presence_status status)
{
    char uid[40];
    must(dc_presence_matrix_status(b->core, name(uid, "m_", user), status, (struct dc_utc){0},
                                   now(b)));
}

static void ev_matrix_coming(struct bench *b, int user, uint64_t r)
{
    (void)r;
    matrix(b, user, toggle(b, user) ? DC_PRESENCE_ONLINE : DC_PRESENCE_OFFLINE);
}

static void ev_matrix_away(struct bench *b, int user, uint64_t r)
{
    (void)r;
    matrix(b, user, toggle(b, user) ? DC_PRESENCE_AWAY : DC_PRESENCE_ONLINE);
}

/* member_reports: of each event, exactly; -1: whatever they are. */
static void measure(struct bench *b, const char *what, event_cb fn, int member_reports)
{
    memset(b->is_other, 0, (size_t)b->n_users * sizeof(*b->is_other));
    struct bench before = *b;
    double start = cpu_s();
    for (int i = 0; i < EVENTS; i++) {
        uint64_t r = next_random(b);
        fn(b, (int)(r % (uint64_t)b->n_users), r >> 40);
        tick_if_due(b);
    }
    report(b, what, EVENTS, cpu_s() - start, &before);
    check(member_reports < 0 ||
              b->n_member - before.n_member == (uint64_t)EVENTS * (uint64_t)member_reports,
          "%s: costs its user's rooms", what);
}

static void begin_phase(struct bench *b)
{
    b->virtual_us += 60LL * 1000000;
    (void)dc_presence_tick(b->core, now(b));
}

/* --- memory --- */

struct bytes {
    double counted, allocated, resident;
};

static struct bytes bytes_now(const struct bench *b)
{
    return (struct bytes){b->core == NULL ? 0 : (double)dc_presence_memory_bytes(b->core),
                          allocated_bytes(), resident_bytes()};
}

/* What has been added since, for each of n. */
static void print_bytes(const char *what, double n, const struct bytes *from,
                        const struct bytes *to, double max)
{
    double each = (to->allocated - from->allocated) / n;
    printf("  bytes for %-36s %7.1f counted, %7.1f by malloc, %7.1f resident (stated: %.0f)\n",
           what, (to->counted - from->counted) / n, each, (to->resident - from->resident) / n, max);
    check(each <= max, "%s: %.1f bytes", what, each);
}

/* The core says what it holds. */
static void check_counted(const struct bytes *before, const struct bytes *after)
{
    double counted = after->counted - before->counted;
    double allocated = after->allocated - before->allocated;
    printf("  in all %.1f MB counted, %.1f MB by malloc, %.1f MB resident\n", counted / 1e6,
           allocated / 1e6, (after->resident - before->resident) / 1e6);
    check(counted > 0.95 * allocated && counted < 1.05 * allocated,
          "memory is counted within 5 %%");
}

/* --- the city --- */

static void make_city(struct bench *b)
{
    const struct dc_presence_opts opts = {
        .lease_ms = 1000000000,
        .close_grace_ms = 5000,
        .typing_ms = 6000,
        .throttle_ms = WINDOW_MS,
        .max_users = (size_t)b->n_users,
        .max_rooms = (size_t)b->n_rooms,
        .max_sessions = (size_t)b->n_users,
        .max_rooms_per_user = (size_t)b->n_joins,
        .hash_seed = {1, 2},
    };
    const struct dc_presence_callbacks cbs = {
        .user = on_user, .member = on_member, .room = on_room, .totals = on_totals};
    must(dc_presence_create(&opts, &cbs, b, &b->core, NULL));
    b->virtual_us = 0;
    char rid[48];
    for (int i = 0; i < b->n_rooms; i++) {
        b->rooms[i] = (struct room){INT64_MIN, 0};
        must(dc_presence_room_add(b->core, name(rid, "room_", i), name(rid, "room_", i), now(b)));
    }
}

static void end_city(struct bench *b)
{
    dc_presence_destroy(b->core);
    b->core = NULL;
    malloc_trim(0); /* so that what is resident next is the next city's */
}

static void native_city(struct bench *b)
{
    const struct bytes before = bytes_now(b);
    printf(" native sessions\n");
    make_city(b);
    const struct bytes rooms = bytes_now(b);
    struct bench phase = *b;
    double start = cpu_s();
    for (int u = 0; u < b->n_users; u++) {
        beat(b, u, DC_PRESENCE_ONLINE);
        tick_if_due(b);
    }
    report(b, "a session begins, its user comes online", (uint64_t)b->n_users, cpu_s() - start,
           &phase);
    const struct bytes users = bytes_now(b);
    phase = *b;
    start = cpu_s();
    char sid[40], rid[48];
    for (int k = 0; k < b->n_joins; k++) {
        for (int u = 0; u < b->n_users; u++) {
            must(dc_presence_session_join(b->core, name(sid, "s_", u),
                                          name(rid, "room_", room_of(b, u, k)), now(b)));
            tick_if_due(b);
        }
    }
    double n_joined = (double)b->n_users * b->n_joins;
    report(b, "a session joins a room", (uint64_t)n_joined, cpu_s() - start, &phase);
    begin_phase(b);
    const struct bytes full = bytes_now(b);
    measure(b, "a beat that changes nothing", ev_renew, 0);
    begin_phase(b);
    measure(b, "a beat: online <-> away", ev_away, b->n_joins);
    begin_phase(b);
    measure(b, "typing begins, goes on or ends", ev_typing, 0);
    begin_phase(b);
    measure(b, "a room is left or joined", ev_leave_or_join, 1);
    phase = *b;
    start = cpu_s();
    for (int u = 0; u < b->n_users; u++) {
        char id[40];
        dc_presence_session_close(b->core, name(id, "s_", u), false, now(b));
    }
    begin_phase(b);
    report(b, "everybody leaves (one tick)", (uint64_t)b->n_users, cpu_s() - start, &phase);
    check(dc_presence_counts_get(b->core).users == 0, "nobody is left");
    /* What a room keeps of its last publication was made while people joined. */
    struct bytes joined = full;
    struct bytes published = rooms;
    double kept = (double)b->n_rooms * (20 * 29 + 33 + 16);
    joined.counted -= kept;
    joined.allocated -= kept;
    joined.resident -= kept;
    published.counted += kept;
    published.allocated += kept;
    published.resident += kept;
    print_bytes("a room that has been published", b->n_rooms, &before, &published, ROOM_MAX_BYTES);
    print_bytes("a user with a session", b->n_users, &rooms, &users, USER_MAX_BYTES);
    print_bytes("a membership by a session", n_joined, &users, &joined, MEMBERSHIP_MAX_BYTES);
    check_counted(&before, &full);
    end_city(b);
}

/* 10,000 come online within one second, and everybody's rooms are right in the end. */
static void storm(struct bench *b)
{
    uint32_t *online = dc_calloc((size_t)b->n_rooms, sizeof(*online));
    int n = b->n_users < STORM ? b->n_users : STORM;
    for (int u = 0; u < b->n_users; u++) {
        matrix(b, u, DC_PRESENCE_OFFLINE);
    }
    begin_phase(b);
    b->virtual_us += 2LL * WINDOW_MS * 1000; /* every window is over */
    struct bench phase = *b;
    double start = cpu_s();
    for (int u = 0; u < n; u++) {
        matrix(b, u, DC_PRESENCE_ONLINE);
        b->virtual_us += 1000000 / n;
    }
    uint64_t leading = b->n_room - phase.n_room;
    begin_phase(b);
    report(b, "storm: 10,000 come online in a second", (uint64_t)n, cpu_s() - start, &phase);
    for (int u = 0; u < n; u++) {
        for (int k = 0; k < b->n_joins; k++) {
            online[room_of(b, u, k)]++;
        }
    }
    for (int r = 0; r < b->n_rooms; r++) {
        check(b->rooms[r].online == online[r], "storm: the last count of room %d", r);
    }
    printf("  storm: %" PRIu64 " publications at once, %" PRIu64
           " at the end of a window, of %d rooms;"
           " all counts exact\n",
           leading, b->n_room - phase.n_room - leading, b->n_rooms);
    dc_free(online);
}

static void load_members(struct bench *b)
{
    /* Room by room, as a homeserver gives them. */
    int **members = dc_calloc((size_t)b->n_rooms, sizeof(*members));
    int *n_members = dc_calloc((size_t)b->n_rooms, sizeof(*n_members));
    for (int u = 0; u < b->n_users; u++) {
        for (int k = 0; k < b->n_joins; k++) {
            int r = room_of(b, u, k);
            if ((n_members[r] & (n_members[r] - 1)) == 0) {
                size_t cap = n_members[r] == 0 ? 1 : 2 * (size_t)n_members[r];
                members[r] = dc_realloc(members[r], cap * sizeof(*members[r]));
            }
            members[r][n_members[r]++] = u;
        }
    }
    const struct bytes before = bytes_now(b);
    struct bench phase = *b;
    double start = cpu_s();
    char uid[40], rid[48];
    for (int r = 0; r < b->n_rooms; r++) {
        for (int i = 0; i < n_members[r]; i++) {
            must(dc_presence_matrix_member(b->core, name(uid, "m_", members[r][i]),
                                           name(rid, "room_", r), true, now(b)));
        }
    }
    double n = (double)b->n_users * b->n_joins;
    report(b, "a member is loaded from Matrix", (uint64_t)n, cpu_s() - start, &phase);
    struct bytes after = bytes_now(b);
    double users = (double)b->n_users;
    print_bytes("a user of Matrix with 20 memberships", users, &before, &after,
                MATRIX_USER_MAX_BYTES + b->n_joins * MATRIX_MEMBERSHIP_MAX_BYTES);
    for (int r = 0; r < b->n_rooms; r++) {
        dc_free(members[r]);
    }
    dc_free(members);
    dc_free(n_members);
}

static void matrix_city(struct bench *b)
{
    printf(" Matrix\n");
    make_city(b);
    load_members(b);
    measure(b, "m.presence: offline <-> online", ev_matrix_coming, b->n_joins);
    for (int u = 0; u < b->n_users; u++) {
        matrix(b, u, DC_PRESENCE_ONLINE);
    }
    begin_phase(b);
    measure(b, "m.presence: online <-> away", ev_matrix_away, b->n_joins);
    storm(b);
    end_city(b);
}

static void run(struct bench *b, int n_users)
{
    b->n_users = n_users;
    printf("%d users, %d rooms, %d rooms a user\n", b->n_users, b->n_rooms, b->n_joins);
    b->is_other = dc_calloc((size_t)b->n_users, sizeof(*b->is_other));
    b->rooms = dc_calloc((size_t)b->n_rooms, sizeof(*b->rooms));
    native_city(b);
    matrix_city(b);
    dc_free(b->is_other);
    dc_free(b->rooms);
}

int main(int argc, char **argv)
{
    struct bench b = {.n_users = 200000, .n_rooms = 10000, .n_joins = 20, .random = 7};
    int *targets[] = {&b.n_users, &b.n_rooms, &b.n_joins};
    for (int i = 1; i < argc && i <= 3; i++) {
        *targets[i - 1] = atoi(argv[i]);
        if (*targets[i - 1] <= 0) {
            fprintf(stderr, "usage: bench_presence [users [rooms [rooms of a user]]]\n");
            return 2;
        }
    }
    int n_users = b.n_users;
    if (argc == 1) {
        run(&b, n_users / 10);
    }
    run(&b, n_users);
    printf("checksum %" PRIu64 "\n", b.checksum);
    return 0;
}
