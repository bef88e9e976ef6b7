/* WebSocket framing: what each sequence of bytes means, and that it means the same however the
 * bytes are cut. */
#include "net/ws_codec.h"

#include "base/mem.h"
#include "ws_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX_MESSAGE 1000u

/* --- transcripts: `T(text) B(bytes) P(ping) O(pong) C(code,reason) V(code)` --- */

static void note(struct dc_strbuf *log, const struct dc_ws_event *e)
{
    static const char letters[16] = {
        [DC_WS_TEXT] = 'T', [DC_WS_BINARY] = 'B', [DC_WS_CLOSE] = 'C',
        [DC_WS_PING] = 'P', [DC_WS_PONG] = 'O',
    };
    dc_strbuf_add_char(log, letters[e->opcode]);
    dc_strbuf_add_char(log, '(');
    if (e->opcode == DC_WS_CLOSE) {
        dc_strbuf_add_u64(log, e->close_code);
        dc_strbuf_add_char(log, ',');
    }
    if (e->payload.len > 200) { /* long ones by length and a sum */
        uint64_t sum = 0;
        for (size_t i = 0; i < e->payload.len; i++) {
            sum = sum * 31 + (uint8_t)e->payload.ptr[i];
        }
        dc_strbuf_printf(log, "%zu bytes, %llx", e->payload.len, (unsigned long long)sum);
    } else {
        dc_strbuf_add(log, e->payload);
    }
    dc_strbuf_add_char(log, ')');
}

/* Gives one piece to the decoder, from memory of exactly its size. */
static void feed(struct dc_ws_decoder *d, struct dc_slice piece, size_t max, struct dc_strbuf *log)
{
    char *copy = dc_alloc(piece.len > 0 ? piece.len : 1);
    if (piece.len > 0) {
        memcpy(copy, piece.ptr, piece.len);
    }
    struct dc_slice in = dc_slice_make(copy, piece.len);
    for (;;) {
        struct dc_ws_event event;
        uint16_t code = 0;
        enum dc_ws_result r = dc_ws_decode(d, &in, max, &event, &code);
        if (r == DC_WS_EVENT) {
            note(log, &event);
        } else if (r == DC_WS_VIOLATION) {
            dc_strbuf_printf(log, "V(%u)", (unsigned)code);
        } else {
            assert_int_equal(in.len, 0);
            break;
        }
    }
    dc_free(copy);
}

/* cuts: ascending positions. */
static void decode_cut(struct dc_slice wire, bool expect_mask, size_t max, const size_t *cuts,
                       size_t n, struct dc_strbuf *log)
{
    struct dc_ws_decoder d;
    size_t at = 0;
    dc_ws_decoder_init(&d, expect_mask);
    for (size_t i = 0; i <= n; i++) {
        size_t end = i == n ? wire.len : cuts[i];
        feed(&d, dc_slice_make(wire.ptr + at, end - at), max, log);
        at = end;
    }
    dc_strbuf_add_z(log, dc_ws_decoder_is_idle(&d) ? "" : "~");
    dc_ws_decoder_free(&d);
}

static void expect_same(const char *what, const char *want_z, struct dc_strbuf *log)
{
    assert_true(dc_strbuf_ok(log));
    if (!dc_slice_eq(dc_slice_z(want_z), dc_strbuf_slice(log))) {
        fail_msg("%s: want %s, got %.*s", what, want_z, DC_SLICE_ARG(dc_strbuf_slice(log)));
    }
    dc_strbuf_clear(log);
}

/* Whole, byte by byte, and with every pair of cuts. A trailing ~ in want: not idle at the end. */
static void expect_decoded(const char *what, struct dc_slice wire, bool expect_mask, size_t max,
                           const char *want_z)
{
    struct dc_strbuf log = {0};
    decode_cut(wire, expect_mask, max, NULL, 0, &log);
    expect_same(what, want_z, &log);
    size_t *every = dc_alloc((wire.len + 1) * sizeof(*every));
    for (size_t i = 0; i < wire.len; i++) {
        every[i] = i;
    }
    decode_cut(wire, expect_mask, max, every, wire.len, &log);
    expect_same(what, want_z, &log);
    dc_free(every);
    size_t step = wire.len > 400 ? wire.len / 97 : 1;
    for (size_t a = 0; a <= wire.len; a += a < 20 ? 1 : step) {
        for (size_t b = a; b <= wire.len; b += b < 20 ? 1 : step) {
            size_t cuts[] = {a, b};
            decode_cut(wire, expect_mask, max, cuts, 2, &log);
            expect_same(what, want_z, &log);
        }
    }
    dc_strbuf_free(&log);
}

struct step {
    uint8_t first;
    const char *payload;
};

struct sequence_case {
    const char *what;
    struct step steps[6]; /* ends with first == 0 and no payload */
    const char *want;
};

#define F 0x80u

static void sequences_of_frames_become_messages_or_violations(void **state)
{
    static const struct sequence_case cases[] = {
        {"one text", {{F | 1, "Hello"}}, "T(Hello)"},
        {"empty text", {{F | 1, ""}}, "T()"},
        {"binary", {{F | 2, "\x01\xff"}}, "B(\x01\xff)"},
        {"two texts", {{F | 1, "a"}, {F | 1, "b"}}, "T(a)T(b)"},
        {"two fragments", {{1, "Hel"}, {F | 0, "lo"}}, "T(Hello)"},
        {"empty fragments", {{1, ""}, {0, ""}, {F | 0, ""}}, "T()"},
        {"three fragments", {{2, "a"}, {0, "b"}, {F | 0, "c"}}, "B(abc)"},
        {"ping inside a message", {{1, "a"}, {F | 9, "p"}, {F | 0, "b"}}, "P(p)T(ab)"},
        {"pong and ping inside a message",
         {{1, "a"}, {F | 10, ""}, {0, "b"}, {F | 9, "x"}, {F | 0, "c"}},
         "O()P(x)T(abc)"},
        {"close inside a message", {{1, "a"}, {F | 8, "\x03\xe8"}}, "C(1000,)~"},
        {"message left open", {{1, "a"}}, "~"},
        {"ping, pong", {{F | 9, "abc"}, {F | 10, "abc"}}, "P(abc)O(abc)"},
        {"two-byte letter over fragments", {{1, "\xd0"}, {F | 0, "\x96"}}, "T(\xd0\x96)"},
        {"emoji over four fragments",
         {{1, "\xf0"}, {0, "\x9f"}, {0, "\x8f"}, {F | 0, "\x99"}},
         "T(\xf0\x9f\x8f\x99)"},
        {"close without a code", {{F | 8, ""}}, "C(1005,)~"},
        {"close with a code", {{F | 8, "\x03\xe9"}}, "C(1001,)~"},
        {"close with a reason", {{F | 8, "\x0f\xa0why"}}, "C(4000,why)~"},
        {"after close nothing counts", {{F | 8, ""}, {F | 1, "x"}, {0x7f, "y"}}, "C(1005,)~"},
        /* violations */
        {"continuation of nothing", {{F | 0, "a"}}, "V(1002)~"},
        {"continuation of nothing, not final", {{0x10, "a"}}, "V(1002)~"},
        {"continuation after the end", {{F | 1, "a"}, {F | 0, "b"}}, "T(a)V(1002)~"},
        {"message inside a message", {{1, "a"}, {F | 1, "b"}}, "V(1002)~"},
        {"binary inside a text", {{1, "a"}, {2, "b"}}, "V(1002)~"},
        {"RSV1", {{F | 0x40 | 1, "a"}}, "V(1002)~"},
        {"RSV2", {{F | 0x20 | 1, "a"}}, "V(1002)~"},
        {"RSV3", {{F | 0x10 | 1, "a"}}, "V(1002)~"},
        {"RSV1 on a ping", {{F | 0x40 | 9, ""}}, "V(1002)~"},
        {"opcode 3", {{F | 3, ""}}, "V(1002)~"},
        {"opcode 7", {{F | 7, ""}}, "V(1002)~"},
        {"opcode 11", {{F | 11, ""}}, "V(1002)~"},
        {"opcode 15", {{F | 15, ""}}, "V(1002)~"},
        {"fragmented ping", {{9, "a"}}, "V(1002)~"},
        {"fragmented pong", {{10, ""}}, "V(1002)~"},
        {"fragmented close", {{8, ""}}, "V(1002)~"},
        {"close with one byte", {{F | 8, "\x03"}}, "V(1002)~"},
        {"close with code 999", {{F | 8, "\x03\xe7"}}, "V(1002)~"},
        {"close with code 1004", {{F | 8, "\x03\xec"}}, "V(1002)~"},
        {"close with code 1005", {{F | 8, "\x03\xed"}}, "V(1002)~"},
        {"close with code 1006", {{F | 8, "\x03\xee"}}, "V(1002)~"},
        {"close with code 1015", {{F | 8, "\x03\xf7"}}, "V(1002)~"},
        {"close with code 2999", {{F | 8, "\x0b\xb7"}}, "V(1002)~"},
        {"close with code 5000", {{F | 8, "\x13\x88"}}, "V(1002)~"},
        {"close with code 65535", {{F | 8, "\xff\xff"}}, "V(1002)~"},
        {"close with a broken reason", {{F | 8, "\x03\xe8\xff"}}, "V(1007)~"},
        {"close with half a letter", {{F | 8, "\x03\xe8\xd0"}}, "V(1007)~"},
        {"text that is not UTF-8", {{F | 1, "a\xff"}}, "V(1007)~"},
        {"overlong form", {{F | 1, "\xc0\x80"}}, "V(1007)~"},
        {"surrogate", {{F | 1, "\xed\xa0\x80"}}, "V(1007)~"},
        {"above U+10FFFF", {{F | 1, "\xf4\x90\x80\x80"}}, "V(1007)~"},
        {"half a letter at the end", {{F | 1, "\xd0"}}, "V(1007)~"},
        {"half a letter at the end of fragments", {{1, "a"}, {F | 0, "\xd0"}}, "V(1007)~"},
        {"fails in the first fragment", {{1, "\xff"}}, "V(1007)~"},
        {"fails in the middle of fragments", {{1, "\xd0"}, {0, "x"}}, "V(1007)~"},
        {"after a violation nothing counts", {{F | 3, ""}, {F | 1, "x"}}, "V(1002)~"},
        {"broken text is fine as binary", {{F | 2, "\xff"}}, "B(\xff)"},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        struct dc_strbuf wire = {0};
        const struct step *s = cases[i].steps;
        for (size_t k = 0; k < DC_ARRAY_LEN(cases[i].steps) && s[k].payload != NULL; k++) {
            struct ws_test_frame f = {
                .first = s[k].first,
                .is_masked = true,
                .mask = {0x11, 0xee, 0x5a, (uint8_t)k},
                .payload = dc_slice_z(s[k].payload),
                .width = 0xff,
            };
            ws_test_put(&wire, &f);
        }
        expect_decoded(cases[i].what, dc_strbuf_slice(&wire), true, MAX_MESSAGE, cases[i].want);
        dc_strbuf_free(&wire);
    }
}

struct head_case {
    const char *what;
    struct dc_slice head;
    bool expect_mask;
    const char *want;
};

static void heads_are_judged_as_early_as_their_bytes_allow(void **state)
{
    static const struct head_case cases[] = {
        {"nothing", {"", 0}, true, ""},
        {"one good byte", {"\x81", 1}, true, "~"},
        {"reserved bit alone", {"\xc1", 1}, true, "V(1002)~"},
        {"unknown opcode alone", {"\x83", 1}, true, "V(1002)~"},
        {"client frame without a mask", {"\x81\x01", 2}, true, "V(1002)~"},
        {"server frame with a mask", {"\x81\x81", 2}, false, "V(1002)~"},
        {"server frame", {"\x81\x01x", 3}, false, "T(x)"},
        {"ping of 126", {"\x89\xfe", 2}, true, "V(1002)~"},
        {"ping of 64-bit length", {"\x89\xff", 2}, true, "V(1002)~"},
        {"close of 1", {"\x88\x81", 2}, true, "V(1002)~"},
        {"125 in 16 bits", {"\x81\xfe\x00\x7d", 4}, true, "V(1002)~"},
        {"0 in 16 bits", {"\x81\xfe\x00\x00", 4}, true, "V(1002)~"},
        {"126 in 16 bits", {"\x81\xfe\x00\x7e", 4}, true, "~"},
        {"65535 in 64 bits", {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 10}, true, "V(1002)~"},
        {"5 in 64 bits", {"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05", 10}, true, "V(1002)~"},
        {"high bit of 64", {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", 10}, true, "V(1002)~"},
        {"all bits of 64", {"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10}, true, "V(1002)~"},
        {"65536 is too big here",
         {"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00", 10},
         true,
         "V(1009)~"},
        {"2^63-1 is too big", {"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 10}, true, "V(1009)~"},
        {"1001 is too big here", {"\x81\xfe\x03\xe9", 4}, true, "V(1009)~"},
        {"1000 is not", {"\x81\xfe\x03\xe8", 4}, true, "~"},
        {"length without the mask", {"\x81\x85\x01\x02\x03", 5}, true, "~"},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        expect_decoded(cases[i].what, cases[i].head, cases[i].expect_mask, MAX_MESSAGE,
                       cases[i].want);
    }
}

static void the_limit_counts_all_fragments_of_a_message(void **state)
{
    (void)state;
    struct dc_strbuf wire = {0};
    ws_test_frame(&wire, false, DC_WS_TEXT, DC_S("12345"));
    ws_test_frame(&wire, true, DC_WS_PING, DC_S("a ping is not counted"));
    ws_test_frame(&wire, true, DC_WS_CONT, DC_S("67890"));
    struct dc_slice all = dc_strbuf_slice(&wire);
    expect_decoded("fits", all, true, 10, "P(a ping is not counted)T(1234567890)");
    expect_decoded("one too many", all, true, 9, "P(a ping is not counted)V(1009)~");
    expect_decoded("first fragment too big", all, true, 4, "V(1009)~");
    dc_strbuf_free(&wire);
}

static void long_messages_of_every_length_form_survive_every_cut(void **state)
{
    static const size_t sizes[] = {125, 126, 127, 1000, 65535, 65536, 70001};
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(sizes); i++) {
        struct dc_strbuf text = {0};
        struct dc_strbuf wire = {0};
        struct dc_strbuf want = {0};
        for (size_t k = 0; k < sizes[i]; k++) {
            dc_strbuf_add_char(&text, (char)('!' + k % 90));
        }
        ws_test_frame(&wire, true, DC_WS_TEXT, dc_strbuf_slice(&text));
        ws_test_frame(&wire, true, DC_WS_PONG, DC_S("end"));
        struct dc_ws_event e = {.opcode = DC_WS_TEXT, .payload = dc_strbuf_slice(&text)};
        note(&want, &e);
        dc_strbuf_add(&want, DC_S("O(end)"));
        dc_strbuf_add_char(&want, '\0');
        expect_decoded("long", dc_strbuf_slice(&wire), true, 100000, want.ptr);
        dc_strbuf_free(&text);
        dc_strbuf_free(&wire);
        dc_strbuf_free(&want);
    }
}

static void a_whole_frame_is_handed_out_where_it_lies(void **state)
{
    (void)state;
    struct dc_strbuf wire = {0};
    struct dc_ws_decoder d;
    struct dc_ws_event event;
    uint16_t code;
    ws_test_frame(&wire, true, DC_WS_TEXT, DC_S("in place"));
    dc_ws_decoder_init(&d, true);
    struct dc_slice in = dc_strbuf_slice(&wire);
    assert_int_equal(dc_ws_decode(&d, &in, MAX_MESSAGE, &event, &code), DC_WS_EVENT);
    assert_ptr_equal(event.payload.ptr, wire.ptr + 6);
    assert_null(d.message.ptr);
    assert_int_equal(dc_ws_decode(&d, &in, MAX_MESSAGE, &event, &code), DC_WS_NEED_MORE);
    assert_true(dc_ws_decoder_is_idle(&d));
    dc_ws_decoder_free(&d);
    dc_strbuf_free(&wire);
}

static void no_memory_is_kept_between_messages(void **state)
{
    (void)state;
    struct dc_strbuf wire = {0};
    struct dc_strbuf log = {0};
    struct dc_ws_decoder d;
    ws_test_frame(&wire, false, DC_WS_TEXT, DC_S("one "));
    ws_test_frame(&wire, true, DC_WS_CONT, DC_S("two"));
    dc_ws_decoder_init(&d, true);
    struct dc_slice all = dc_strbuf_slice(&wire);
    feed(&d, dc_slice_make(all.ptr, 12), MAX_MESSAGE, &log);
    assert_non_null(d.message.ptr);
    assert_false(dc_ws_decoder_is_idle(&d));
    feed(&d, dc_slice_make(all.ptr + 12, all.len - 12), MAX_MESSAGE, &log);
    expect_same("message", "T(one two)", &log);
    assert_null(d.message.ptr);
    assert_true(dc_ws_decoder_is_idle(&d));
    dc_ws_decoder_free(&d);
    dc_strbuf_free(&wire);
    dc_strbuf_free(&log);
}

static void headers_are_written_in_the_shortest_form(void **state)
{
    static const struct {
        uint64_t len;
        struct dc_slice want;
    } cases[] = {
        {0, {"\x81\x00", 2}},
        {125, {"\x81\x7d", 2}},
        {126, {"\x81\x7e\x00\x7e", 4}},
        {65535, {"\x81\x7e\xff\xff", 4}},
        {65536, {"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10}},
        {UINT64_C(0x0102030405060708), {"\x81\x7f\x01\x02\x03\x04\x05\x06\x07\x08", 10}},
    };
    (void)state;
    for (size_t i = 0; i < DC_ARRAY_LEN(cases); i++) {
        uint8_t out[DC_WS_HEADER_MAX];
        size_t n = dc_ws_encode_header(out, DC_WS_TEXT, cases[i].len);
        assert_int_equal(n, cases[i].want.len);
        assert_memory_equal(out, cases[i].want.ptr, n);
    }
}

static void what_is_framed_decodes_to_itself(void **state)
{
    (void)state;
    struct dc_blob *text = dc_ws_frame(DC_WS_TEXT, DC_S("Привіт"));
    struct dc_blob *ping = dc_ws_frame(DC_WS_PING, DC_SLICE_NULL);
    struct dc_blob *bye = dc_ws_close_frame(DC_WS_SLOW_CONSUMER, DC_S("slow_consumer offset=7"));
    struct dc_blob *plain = dc_ws_close_frame(DC_WS_NO_STATUS, DC_SLICE_NULL);
    assert_true(text != NULL && ping != NULL && bye != NULL && plain != NULL);
    expect_decoded("text", dc_blob_slice(text), false, MAX_MESSAGE, "T(Привіт)");
    expect_decoded("ping", dc_blob_slice(ping), false, MAX_MESSAGE, "P()");
    expect_decoded("close", dc_blob_slice(bye), false, MAX_MESSAGE,
                   "C(4408,slow_consumer offset=7)~");
    expect_decoded("plain close", dc_blob_slice(plain), false, MAX_MESSAGE, "C(1005,)~");
    dc_blob_unref(text);
    dc_blob_unref(ping);
    dc_blob_unref(bye);
    dc_blob_unref(plain);
}

static void close_codes_on_the_wire_are_those_of_the_registry(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        bool want = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                    (code >= 3000 && code <= 4999);
        if (dc_ws_close_code_is_valid((uint16_t)code) != want) {
            fail_msg("code %u", (unsigned)code);
        }
    }
}

static void the_accept_key_is_that_of_the_specification(void **state)
{
    (void)state;
    char out[29];
    dc_ws_accept_key(DC_S("dGhlIHNhbXBsZSBub25jZQ=="), out); /* RFC 6455 §1.3 */
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_of_frames_become_messages_or_violations),
        cmocka_unit_test(heads_are_judged_as_early_as_their_bytes_allow),
        cmocka_unit_test(the_limit_counts_all_fragments_of_a_message),
        cmocka_unit_test(long_messages_of_every_length_form_survive_every_cut),
        cmocka_unit_test(a_whole_frame_is_handed_out_where_it_lies),
        cmocka_unit_test(no_memory_is_kept_between_messages),
        cmocka_unit_test(headers_are_written_in_the_shortest_form),
        cmocka_unit_test(what_is_framed_decodes_to_itself),
        cmocka_unit_test(close_codes_on_the_wire_are_those_of_the_registry),
        cmocka_unit_test(the_accept_key_is_that_of_the_specification),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
