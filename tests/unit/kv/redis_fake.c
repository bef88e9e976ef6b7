/* See redis_fake.h. */
#include "redis_fake.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define WORDS_MAX 16

struct conn {
    struct dc_list link;
    uv_tcp_t tcp;
    struct fake *fake;
    struct dc_strbuf in, out;
    size_t sent; /* of out, while dribbling */
    struct dc_turn turn;
    bool is_closing;
    char room[65536];
};

struct write {
    uv_write_t req;
    char bytes[];
};

static void on_conn_closed(uv_handle_t *handle)
{
    struct conn *c = DC_CONTAINER_OF(handle, struct conn, tcp);
    c->fake->n_handles--;
    dc_turn_cancel(&c->turn);
    dc_strbuf_free(&c->in);
    dc_strbuf_free(&c->out);
    dc_free(c);
}

static void conn_close(struct conn *c, bool resets)
{
    if (c->is_closing) {
        return;
    }
    c->is_closing = true;
    dc_list_remove(&c->link);
    if (!resets || uv_tcp_close_reset(&c->tcp, on_conn_closed) != 0) {
        uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
    }
}

static void on_written(uv_write_t *req, int status)
{
    (void)status; /* the client may be gone */
    dc_free(DC_CONTAINER_OF(req, struct write, req));
}

static void write_bytes(struct conn *c, struct dc_slice bytes)
{
    if (bytes.len == 0) {
        return;
    }
    struct write *w = dc_alloc(sizeof(*w) + bytes.len);
    memcpy(w->bytes, bytes.ptr, bytes.len);
    uv_buf_t buf = uv_buf_init(w->bytes, (unsigned)bytes.len);
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        dc_free(w);
    }
}

static void on_dribble(struct dc_turn *turn)
{
    struct conn *c = DC_CONTAINER_OF(turn, struct conn, turn);
    if (!c->is_closing && c->sent < c->out.len) {
        write_bytes(c, dc_slice_make(c->out.ptr + c->sent, 1));
        c->sent++;
        dc_turn_schedule(c->fake->loop, &c->turn);
    }
}

static struct dc_slice usual(struct dc_slice word)
{
    if (dc_slice_eq(word, DC_S("PING"))) {
        return DC_S("+PONG\r\n");
    }
    if (dc_slice_eq(word, DC_S("SCRIPT"))) {
        return DC_S("$40\r\n0123456789012345678901234567890123456789\r\n");
    }
    if (dc_slice_eq(word, DC_S("ROLE"))) {
        return DC_S("*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n0\r\n");
    }
    return DC_S("+OK\r\n");
}

static struct dc_slice answer_to(struct fake *f, const struct dc_slice *words, size_t n)
{
    for (size_t i = 0; i < f->n_rules; i++) {
        struct fake_rule *rule = &f->rules[i];
        bool fits = rule->word[0] == '\0';
        for (size_t k = 0; k < n && !fits; k++) {
            fits = dc_slice_eq(words[k], dc_slice_z(rule->word));
        }
        if (fits && rule->times != UINT32_MAX) {
            if (rule->times > 0 && --rule->times == 0) {
                rule->times = UINT32_MAX; /* used up */
            }
            return rule->bytes;
        }
    }
    return usual(words[0]);
}

static void on_command(struct conn *c, const struct dc_slice *words, size_t n)
{
    struct fake *f = c->fake;
    f->n_commands++;
    dc_strbuf_add(&f->seen, words[0]);
    dc_strbuf_add_char(&f->seen, ' ');
    struct dc_slice bytes = answer_to(f, words, n);
    if (f->is_dribbling) {
        dc_strbuf_add(&c->out, bytes);
        dc_turn_schedule(f->loop, &c->turn);
    } else {
        write_bytes(c, bytes);
    }
    if (f->hangs_up || f->resets) {
        conn_close(c, f->resets);
    }
}

static bool take_number(struct dc_slice *in, char mark, size_t *out)
{
    const char *end = in->len > 0 ? memchr(in->ptr, '\n', in->len) : NULL;
    uint64_t number = 0;
    if (end == NULL) {
        return false;
    }
    size_t len = (size_t)(end - in->ptr);
    assert_int_equal(in->ptr[0], mark); /* a client of ours speaks well */
    assert_true(dc_slice_to_u64(dc_slice_make(in->ptr + 1, len - 2), &number));
    *in = dc_slice_make(end + 1, in->len - len - 1);
    *out = (size_t)number;
    return true;
}

static bool take_command(struct dc_slice *in, struct dc_slice *words, size_t *n)
{
    struct dc_slice rest = *in;
    if (!take_number(&rest, '*', n)) {
        return false;
    }
    assert_in_range(*n, 1, WORDS_MAX);
    for (size_t i = 0; i < *n; i++) {
        size_t len = 0;
        if (!take_number(&rest, '$', &len) || !dc_slice_take(&rest, len, &words[i]) ||
            !dc_slice_take_prefix(&rest, DC_S("\r\n"))) {
            return false;
        }
    }
    *in = rest;
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = DC_CONTAINER_OF(handle, struct conn, tcp);
    *buf = uv_buf_init(c->room, sizeof(c->room));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = DC_CONTAINER_OF(stream, struct conn, tcp);
    struct dc_slice words[WORDS_MAX];
    size_t n_words = 0;
    if (n < 0) {
        conn_close(c, false);
        return;
    }
    dc_strbuf_add(&c->in, dc_slice_make(buf->base, (size_t)n));
    struct dc_slice rest = dc_strbuf_slice(&c->in);
    while (!c->is_closing && take_command(&rest, words, &n_words)) {
        on_command(c, words, n_words);
    }
    memmove(c->in.ptr, rest.ptr, rest.len);
    c->in.len = rest.len;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct fake *f = DC_CONTAINER_OF(listener, struct fake, listener);
    assert_int_equal(status, 0);
    struct conn *c = dc_calloc(1, sizeof(*c));
    c->fake = f;
    dc_turn_init(&c->turn, on_dribble);
    assert_int_equal(uv_tcp_init(dc_loop_uv(f->loop), &c->tcp), 0);
    f->n_handles++;
    f->n_accepted++;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->tcp), 0);
    dc_list_push_back(&f->conns, &c->link);
    if (!f->is_deaf) {
        assert_int_equal(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read), 0);
    }
}

struct fake *fake_create(struct dc_loop *loop)
{
    struct fake *f = dc_calloc(1, sizeof(*f));
    struct sockaddr_in addr;
    int len = sizeof(addr);
    f->loop = loop;
    dc_list_init(&f->conns);
    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &addr), 0);
    assert_int_equal(uv_tcp_init(dc_loop_uv(loop), &f->listener), 0);
    assert_int_equal(uv_tcp_bind(&f->listener, (const struct sockaddr *)&addr, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&f->listener, 16, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&f->listener, (struct sockaddr *)&addr, &len), 0);
    f->port = ntohs(addr.sin_port);
    f->n_handles = 1;
    return f;
}

static void drop_rules(struct fake *f)
{
    for (size_t i = 0; i < f->n_rules; i++) {
        dc_free((void *)(uintptr_t)f->rules[i].bytes.ptr);
    }
    f->n_rules = 0;
}

void fake_set_rules(struct fake *f, const struct fake_rule *rules, size_t n)
{
    assert_in_range(n, 0, FAKE_RULES_MAX);
    drop_rules(f);
    for (size_t i = 0; i < n; i++) {
        char *bytes = dc_alloc(rules[i].bytes.len + 1);
        memcpy(bytes, rules[i].bytes.ptr, rules[i].bytes.len);
        f->rules[i] = rules[i];
        f->rules[i].bytes.ptr = bytes;
    }
    f->n_rules = n;
}

void fake_listen_to_all(struct fake *f)
{
    f->is_deaf = false;
    DC_LIST_FOREACH (it, &f->conns) {
        struct conn *c = DC_LIST_ENTRY(it, struct conn, link);
        assert_int_equal(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read), 0);
    }
}

void fake_hang_up(struct fake *f)
{
    while (!dc_list_is_empty(&f->conns)) {
        conn_close(DC_LIST_ENTRY(f->conns.next, struct conn, link), false);
    }
}

void fake_say(struct fake *f, struct dc_slice bytes)
{
    DC_LIST_FOREACH (it, &f->conns) {
        write_bytes(DC_LIST_ENTRY(it, struct conn, link), bytes);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    DC_CONTAINER_OF(handle, struct fake, listener)->n_handles--;
}

void fake_destroy(struct fake *f)
{
    fake_hang_up(f);
    uv_close((uv_handle_t *)&f->listener, on_listener_closed);
    while (f->n_handles > 0) {
        uv_run(dc_loop_uv(f->loop), UV_RUN_ONCE);
    }
    drop_rules(f);
    dc_strbuf_free(&f->seen);
    dc_free(f);
}
