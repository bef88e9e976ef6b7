/* The hub against a model: topics of both kinds, members that stall, drain, leave, come back and
 * close at random.  What each of them received is compared with what it must have received. */
#include "net/hub.h"

#include "ws_fixture.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#define SOCKETS    12
#define TOPICS     4 /* the even ones are logs, the odd ones states */
#define KEYS       9
#define MAX_FRAMES 6000
#define STEPS      6000
#define LOG_FRAMES 60

/* What was published: index is the offset. */
struct model_frame {
    int key;
    uint32_t check; /* written into the frame */
    bool is_ending;
};

struct model_topic {
    struct dc_topic *topic;
    char name[8];
    bool is_log;
    uint64_t offset;
    struct model_frame frames[MAX_FRAMES];
};

/* What one socket has of one topic. */
struct model_member {
    bool is_in, is_held, was_left; /* was_left: frames on the way may or may not arrive */
    uint64_t cursor;               /* it must get what follows */
    uint64_t last_got;
};

struct model_socket {
    struct client *client;
    struct peer *peer;
    size_t n_seen; /* of client->texts */
    struct model_member members[TOPICS];
};

struct model {
    struct fixture fx;
    uint64_t random;
    struct model_topic topics[TOPICS];
    struct model_socket sockets[SOCKETS];
    size_t frames_checked, slow_closes, conflated, resumes;
};

static uint32_t next_random(struct model *m, uint32_t bound)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (uint32_t)((m->random >> 33) % bound);
}

static void model_publish(struct model *m, struct model_topic *t, bool is_large)
{
    if (t->offset + 1 >= MAX_FRAMES) {
        return;
    }
    struct model_frame *f = &t->frames[++t->offset];
    f->key = (int)next_random(m, KEYS);
    f->check = next_random(m, 1000000);
    f->is_ending = !t->is_log && next_random(m, 10) == 0;
    char key[16];
    char json[2200];
    snprintf(key, sizeof(key), "k%d", f->key);
    int n = snprintf(json, sizeof(json), "{\"topic\":\"%s\",\"check\":%u,\"pad\":\"%*d\"", t->name,
                     (unsigned)f->check, is_large ? 1500 : 5, 0);
    struct dc_slice text = dc_slice_make(json, (size_t)n);
    if (t->is_log) {
        dc_topic_publish(t->topic, t->offset, text);
    } else if (f->is_ending) {
        dc_topic_end(t->topic, dc_slice_z(key), text);
    } else {
        dc_topic_set(t->topic, dc_slice_z(key), text);
    }
    assert_int_equal(dc_topic_offset(t->topic), t->offset);
}

static struct model_topic *topic_named(struct model *m, const char *text, size_t *index)
{
    for (size_t i = 0; i < TOPICS; i++) {
        char want[32];
        snprintf(want, sizeof(want), "{\"topic\":\"%s\",", m->topics[i].name);
        if (strncmp(text, want, strlen(want)) == 0) {
            *index = i;
            return &m->topics[i];
        }
    }
    fail_msg("a frame of no topic: %.60s", text);
    abort(); /* fail_msg() does not return, which compilers cannot see */
}

static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    assert_non_null(at);
    return strtoull(at + strlen(name), NULL, 10);
}

/* A frame that has arrived must be the one that was published, and the next one for this member. */
static void check_frame(struct model *m, struct model_socket *s, const char *text)
{
    size_t i;
    struct model_topic *t = topic_named(m, text, &i);
    struct model_member *mem = &s->members[i];
    uint64_t offset = number_after(text, "\"offset\":");
    assert_in_range(offset, 1, t->offset);
    assert_int_equal(number_after(text, "\"check\":"), t->frames[offset].check);
    m->frames_checked++;
    assert_true(offset > mem->last_got);
    if (mem->is_in) {
        assert_true(offset > mem->cursor);
        if (t->is_log) {
            assert_int_equal(offset, mem->cursor + 1);
        } else {
            /* What was skipped was replaced by something newer of its key. */
            for (uint64_t k = mem->cursor + 1; k < offset; k++) {
                bool is_replaced = false;
                for (uint64_t l = k + 1; l <= t->offset && !is_replaced; l++) {
                    is_replaced = t->frames[l].key == t->frames[k].key;
                }
                assert_true(is_replaced);
                m->conflated++;
            }
        }
        mem->cursor = offset;
    } else {
        assert_true(mem->was_left);
    }
    mem->last_got = offset;
}

static void check_arrivals(struct model *m, struct model_socket *s)
{
    while (s->n_seen < s->client->n_texts) {
        check_frame(m, s, s->client->texts[s->n_seen++]);
    }
    client_forget_texts(s->client);
    s->n_seen = 0;
}

static void model_connect(struct model *m, struct model_socket *s)
{
    memset(s, 0, sizeof(*s));
    s->client = client_connect_with(&m->fx, 4096, &s->peer);
    shrink_send_buffer(dc_ws_conn(s->peer->ws), 4096);
}

/* The server has closed it as slow: its reason names the last frame of a log that it has got. */
static void check_slow_close(struct model *m, struct model_socket *s)
{
    assert_int_equal(s->client->close_code, DC_WS_SLOW_CONSUMER);
    uint64_t offset = number_after(s->client->close_reason, "slow_consumer offset=");
    bool is_known = false;
    for (size_t i = 0; i < TOPICS; i++) {
        const struct model_member *mem = &s->members[i];
        /* It may have been closed before the model let it leave. */
        is_known =
            is_known || (m->topics[i].is_log && (mem->cursor == offset || mem->last_got == offset));
    }
    assert_true(is_known);
    m->slow_closes++;
}

static void replace_socket(struct model *m, struct model_socket *s)
{
    client_close(s->client);
    PUMP_UNTIL(&m->fx, s->peer->closed == 1);
    /* Connect again in the same place; the fixture's client is used anew. */
    struct client *old = s->client;
    size_t had = m->fx.n_clients;
    memset(s, 0, sizeof(*s));
    s->client = client_connect_with(&m->fx, 4096, &s->peer);
    *old = m->fx.clients[had];
    memset(&m->fx.clients[had], 0, sizeof(m->fx.clients[had]));
    m->fx.n_clients--;
    s->client = old;
    shrink_send_buffer(dc_ws_conn(s->peer->ws), 4096);
}

/* Reads what is on its way; true if nothing is any more, so that the model knows where the member
 * stands. */
static bool quiesce(struct model *m, struct model_socket *s)
{
    int unacknowledged = 1;
    for (int i = 0; i < 5 && unacknowledged > 0 && s->peer->ws != NULL; i++) {
        settle(&m->fx);
        client_read(s->client, 0);
        const struct dc_conn *c = dc_ws_conn(s->peer->ws);
        if (dc_conn_is_writable(c)) {
            assert_int_equal(ioctl(c->fd, SIOCOUTQ, &unacknowledged), 0);
        }
    }
    client_read(s->client, 0);
    check_arrivals(m, s);
    return unacknowledged == 0 && s->peer->ws != NULL && s->client->close_code == 0;
}

static void step_member(struct model *m, struct model_socket *s, size_t i)
{
    struct model_topic *t = &m->topics[i];
    struct model_member *mem = &s->members[i];
    struct dc_conn *c = dc_ws_conn(s->peer->ws);
    if (!mem->is_in) {
        /* Joins where the topic is, or resumes where it was. */
        if (mem->was_left && !quiesce(m, s)) {
            return;
        }
        uint64_t from = t->offset;
        if (mem->was_left && next_random(m, 2) == 0 &&
            dc_topic_can_resume(t->topic, DC_S("model"), mem->last_got)) {
            from = mem->last_got;
            m->resumes++;
        }
        *mem = (struct model_member){.is_in = true, .cursor = from, .last_got = mem->last_got};
        dc_topic_join(t->topic, c, from);
        return;
    }
    if (mem->is_held) {
        dc_topic_release(t->topic, c, mem->cursor);
        mem->is_held = false;
    } else if (next_random(m, 3) == 0) {
        if (quiesce(m, s) && mem->cursor == t->offset) {
            dc_topic_hold(t->topic, c);
            mem->is_held = true;
        }
    } else {
        dc_topic_leave(t->topic, c);
        mem->is_in = false;
        mem->was_left = true;
    }
}

static void model_step(struct model *m)
{
    struct model_socket *s = &m->sockets[next_random(m, SOCKETS)];
    uint32_t what = next_random(m, 100);
    if (what < 55) {
        struct model_topic *t = &m->topics[next_random(m, TOPICS)];
        for (uint32_t n = 1 + next_random(m, 4); n > 0; n--) {
            model_publish(m, t, next_random(m, 3) == 0);
        }
    } else if (what < 75) {
        dc_loop_step(m->fx.loop);
    } else if (what < 80) {
        s->client->is_stalled = !s->client->is_stalled;
    } else if (what < 85) {
        client_read(s->client, 1 + next_random(m, 5000)); /* drains a little */
    } else if (what < 98) {
        if (s->peer->ws != NULL && s->client->close_code == 0) {
            step_member(m, s, next_random(m, TOPICS));
        }
    } else if (what == 98 && next_random(m, 8) == 0) {
        replace_socket(m, s);
    }
    if (next_random(m, 4) == 0) {
        pump(&m->fx);
    }
    check_arrivals(m, s);
    if (s->client->close_code != 0) {
        check_slow_close(m, s);
        replace_socket(m, s);
    }
}

/* At the end everybody reads: whoever is in has everything, or was closed as slow. */
static void model_finish(struct model *m)
{
    for (size_t i = 0; i < SOCKETS; i++) {
        struct model_socket *s = &m->sockets[i];
        s->client->is_stalled = false;
        for (size_t k = 0; k < TOPICS; k++) {
            if (s->members[k].is_held && s->peer->ws != NULL) {
                dc_topic_release(m->topics[k].topic, dc_ws_conn(s->peer->ws), s->members[k].cursor);
            }
        }
    }
    for (size_t i = 0; i < SOCKETS; i++) {
        struct model_socket *s = &m->sockets[i];
        for (size_t k = 0; k < TOPICS; k++) {
            while (s->members[k].is_in && s->members[k].cursor != m->topics[k].offset &&
                   s->client->close_code == 0) {
                PUMP_UNTIL(&m->fx, s->client->n_texts > s->n_seen || s->client->close_code != 0);
                check_arrivals(m, s);
            }
        }
        check_arrivals(m, s);
        if (s->client->close_code != 0) {
            check_slow_close(m, s);
        }
    }
}

static void run_model(uint64_t seed, struct model *total)
{
    struct model *m = dc_calloc(1, sizeof(*m));
    m->random = seed;
    fx_open(&m->fx);
    for (size_t i = 0; i < TOPICS; i++) {
        struct model_topic *t = &m->topics[i];
        t->is_log = i % 2 == 0;
        snprintf(t->name, sizeof(t->name), "t%zu", i);
        const struct dc_topic_opts opts = {.kind = t->is_log ? DC_TOPIC_LOG : DC_TOPIC_STATE,
                                           .epoch = DC_S("model"),
                                           .max_log_frames = LOG_FRAMES,
                                           .max_frames_per_write = i < 2 ? 0 : 5};
        t->topic = dc_topic_create(m->fx.hub, &opts);
    }
    for (size_t i = 0; i < SOCKETS; i++) {
        model_connect(m, &m->sockets[i]);
    }
    for (size_t i = 0; i < STEPS; i++) {
        model_step(m);
    }
    model_finish(m);
    total->frames_checked += m->frames_checked;
    total->slow_closes += m->slow_closes;
    total->conflated += m->conflated;
    total->resumes += m->resumes;
    for (size_t i = 0; i < TOPICS; i++) {
        dc_topic_destroy(m->topics[i].topic);
    }
    fx_close(&m->fx);
    dc_free(m);
}

static void what_members_receive_is_what_the_model_says(void **state)
{
    (void)state;
    struct model *total = dc_calloc(1, sizeof(*total));
    for (uint64_t seed = 1; seed <= 6; seed++) {
        print_message("seed %d\n", (int)seed);
        run_model(seed * UINT64_C(0x9e3779b97f4a7c15), total);
    }
    print_message("%zu frames, %zu conflated, %zu slow closes, %zu resumes\n",
                  total->frames_checked, total->conflated, total->slow_closes, total->resumes);
    /* Everything that the model is about has happened. */
    assert_true(total->frames_checked > 10000);
    assert_true(total->conflated > 100);
    assert_true(total->slow_closes > 5);
    assert_true(total->resumes > 5);
    dc_free(total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_members_receive_is_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
