/* Presence core at the size of a large city: 200,000 users, 10,000 rooms, 20 rooms each (4 million
 * memberships), one core.  Time is virtual: 100,000 events are one second, ticks come when they are
 * due, so rooms are published as often as they would be.  Prints events per second of CPU time,
 * publications, and bytes.
 *
 * bench_presence [users [rooms [rooms of a user]]] */
#include "base/mem.h"
#include "domain/presence.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EVENTS          1000000
#define EVENTS_A_SECOND 100000

struct bench {
    struct dc_presence *core;
    int n_users, n_rooms, n_joins;
    int64_t virtual_us;
    uint64_t random;
    uint64_t n_user, n_member, n_room, n_totals;
    uint64_t checksum; /* so that states are really looked at */
};

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

static void on_room(void *data, const struct dc_presence_room_state *r)
{
    struct bench *b = data;
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
    printf("%-44s %9.0f events/s  %6.2f us each  %" PRIu64 " member and %" PRIu64 " room reports\n",
           what, (double)events / seconds, seconds * 1e6 / (double)events,
           b->n_member - before->n_member, b->n_room - before->n_room);
}

typedef void (*event_cb)(struct bench *b, int user, uint64_t r);

static void measure(struct bench *b, const char *what, event_cb fn)
{
    struct bench before = *b;
    double start = cpu_s();
    for (int i = 0; i < EVENTS; i++) {
        uint64_t r = next_random(b);
        fn(b, (int)(r % (uint64_t)b->n_users), r >> 40);
        tick_if_due(b);
    }
    report(b, what, EVENTS, cpu_s() - start, &before);
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
    beat(b, user, r % 2 == 0 ? DC_PRESENCE_AWAY : DC_PRESENCE_ONLINE);
}

static void ev_typing(struct bench *b, int user, uint64_t r)
{
    char sid[40], rid[48];
    int room =
        (int)(((int64_t)user * 7919 + (int64_t)(r % (uint64_t)b->n_joins) * 499) % b->n_rooms);
    must(dc_presence_session_typing(b->core, name(sid, "s_", user), name(rid, "room_", room),
                                    r % 3 != 0, now(b)));
}

static void ev_matrix(struct bench *b, int user, uint64_t r)
{
    char uid[40];
    must(dc_presence_matrix_status(b->core, name(uid, "m_", user),
                                   r % 2 == 0 ? DC_PRESENCE_ONLINE : DC_PRESENCE_OFFLINE,
                                   (struct dc_utc){0}, now(b)));
}

static void ev_join_leave(struct bench *b, int user, uint64_t r)
{
    char sid[40], rid[48];
    struct dc_slice session = name(sid, "s_", user);
    int room =
        (int)(((int64_t)user * 7919 + (int64_t)(r % (uint64_t)b->n_joins) * 499) % b->n_rooms);
    dc_presence_session_leave(b->core, session, name(rid, "room_", room), now(b));
    must(dc_presence_session_join(b->core, session, name(rid, "room_", room), now(b)));
}

static void make_city(struct bench *b)
{
    const struct dc_presence_opts opts = {
        .lease_ms = 1000000000,
        .close_grace_ms = 5000,
        .typing_ms = 6000,
        .throttle_ms = 3000,
        .max_users = (size_t)b->n_users,
        .max_rooms = (size_t)b->n_rooms,
        .max_sessions = (size_t)b->n_users,
        .max_rooms_per_user = (size_t)b->n_joins,
        .hash_seed = {1, 2},
    };
    const struct dc_presence_callbacks cbs = {on_user, on_member, NULL, on_room, on_totals};
    must(dc_presence_create(&opts, &cbs, b, &b->core, NULL));
    b->virtual_us = 0;
    char rid[48];
    for (int i = 0; i < b->n_rooms; i++) {
        must(dc_presence_room_add(b->core, name(rid, "room_", i), name(rid, "room_", i), now(b)));
    }
}

static size_t held(const struct bench *b)
{
    return dc_presence_memory_bytes(b->core);
}

static void print_memory(const struct bench *b, const char *what, size_t rooms, size_t users,
                         size_t all, double resident)
{
    size_t memberships = dc_presence_counts_get(b->core).memberships;
    printf("%s: %zu bytes a room, %zu a user with session, %.1f a membership; "
           "%.1f MB counted, %.1f MB resident more than before\n",
           what, rooms / (size_t)b->n_rooms, (users - rooms) / (size_t)b->n_users,
           (double)(all - users) / (double)memberships, (double)all / 1e6, resident / 1e6);
}

static void native_city(struct bench *b)
{
    double resident = resident_bytes();
    make_city(b);
    size_t rooms = held(b);
    struct bench before = *b;
    double start = cpu_s();
    for (int u = 0; u < b->n_users; u++) {
        beat(b, u, DC_PRESENCE_ONLINE);
        tick_if_due(b);
    }
    report(b, "session begins (user comes online)", (uint64_t)b->n_users, cpu_s() - start, &before);
    size_t users = held(b);
    before = *b;
    start = cpu_s();
    char sid[40], rid[48];
    for (int k = 0; k < b->n_joins; k++) {
        for (int u = 0; u < b->n_users; u++) {
            int room = (int)(((int64_t)u * 7919 + (int64_t)k * 499) % b->n_rooms);
            must(dc_presence_session_join(b->core, name(sid, "s_", u), name(rid, "room_", room),
                                          now(b)));
            tick_if_due(b);
        }
    }
    uint64_t joins = (uint64_t)b->n_users * (uint64_t)b->n_joins;
    report(b, "session joins a room", joins, cpu_s() - start, &before);
    print_memory(b, "native", rooms, users, held(b), resident_bytes() - resident);
    measure(b, "beat, nothing changes", ev_renew);
    measure(b, "beat, online <-> away (half change)", ev_away);
    measure(b, "typing on or off", ev_typing);
    measure(b, "leave and join a room", ev_join_leave);
    struct dc_presence_counts n = dc_presence_counts_get(b->core);
    start = cpu_s();
    before = *b;
    for (int u = 0; u < b->n_users; u++) {
        dc_presence_session_close(b->core, name(sid, "s_", u), false, now(b));
    }
    b->virtual_us += 60LL * 1000000;
    (void)dc_presence_tick(b->core, now(b));
    report(b, "everybody leaves at once (one tick)", n.users, cpu_s() - start, &before);
    dc_presence_destroy(b->core);
}

static void matrix_city(struct bench *b)
{
    double resident = resident_bytes();
    make_city(b);
    size_t rooms = held(b);
    struct bench before = *b;
    double start = cpu_s();
    char uid[40], rid[48];
    for (int u = 0; u < b->n_users; u++) {
        for (int k = 0; k < b->n_joins; k++) {
            int room = (int)(((int64_t)u * 7919 + (int64_t)k * 499) % b->n_rooms);
            must(dc_presence_matrix_member(b->core, name(uid, "m_", u), name(rid, "room_", room),
                                           true, now(b)));
        }
    }
    uint64_t joins = (uint64_t)b->n_users * (uint64_t)b->n_joins;
    report(b, "Matrix member is loaded", joins, cpu_s() - start, &before);
    printf("matrix: %.1f MB counted, %.1f MB resident more than before, %zu bytes in rooms\n",
           (double)held(b) / 1e6, (resident_bytes() - resident) / 1e6, rooms);
    measure(b, "m.presence, offline <-> online (half change)", ev_matrix);
    /* A storm: 10,000 users come online within one second. */
    for (int u = 0; u < b->n_users; u++) {
        must(dc_presence_matrix_status(b->core, name(uid, "m_", u), DC_PRESENCE_OFFLINE,
                                       (struct dc_utc){0}, now(b)));
    }
    b->virtual_us += 60LL * 1000000;
    (void)dc_presence_tick(b->core, now(b));
    b->virtual_us += 60LL * 1000000; /* every window is over */
    before = *b;
    int storm = b->n_users < 10000 ? b->n_users : 10000;
    start = cpu_s();
    for (int u = 0; u < storm; u++) {
        must(dc_presence_matrix_status(b->core, name(uid, "m_", u), DC_PRESENCE_ONLINE,
                                       (struct dc_utc){0}, now(b)));
        b->virtual_us += 1000000 / storm;
    }
    uint64_t leading = b->n_room - before.n_room;
    b->virtual_us += 10LL * 1000000;
    (void)dc_presence_tick(b->core, now(b));
    report(b, "storm: 10,000 come online in a second", (uint64_t)storm, cpu_s() - start, &before);
    printf("storm: %" PRIu64 " publications at once and %" PRIu64 " at the end of the window, of "
           "%d rooms\n",
           leading, b->n_room - before.n_room - leading, b->n_rooms);
    dc_presence_destroy(b->core);
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
    printf("%d users, %d rooms, %d rooms a user\n", b.n_users, b.n_rooms, b.n_joins);
    native_city(&b);
    matrix_city(&b);
    printf("checksum %" PRIu64 "\n", b.checksum);
    return 0;
}
