#include "base/utf8.h"
#include "dies.h"
#include "seeded_random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

/* The grammar of RFC 3629 section 4, written as it stands there. */
static size_t reference_char(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char range[4][2];
        size_t len;
    } forms[] = {
        {{{0x00, 0x7F}}, 1},
        {{{0xC2, 0xDF}, {0x80, 0xBF}}, 2},
        {{{0xE0, 0xE0}, {0xA0, 0xBF}, {0x80, 0xBF}}, 3},
        {{{0xE1, 0xEC}, {0x80, 0xBF}, {0x80, 0xBF}}, 3},
        {{{0xED, 0xED}, {0x80, 0x9F}, {0x80, 0xBF}}, 3},
        {{{0xEE, 0xEF}, {0x80, 0xBF}, {0x80, 0xBF}}, 3},
        {{{0xF0, 0xF0}, {0x90, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}, 4},
        {{{0xF1, 0xF3}, {0x80, 0xBF}, {0x80, 0xBF}, {0x80, 0xBF}}, 4},
        {{{0xF4, 0xF4}, {0x80, 0x8F}, {0x80, 0xBF}, {0x80, 0xBF}}, 4},
    };
    for (size_t f = 0; f < DC_ARRAY_LEN(forms); f++) {
        size_t k = 0;
        while (k < forms[f].len && k < n && p[k] >= forms[f].range[k][0] &&
               p[k] <= forms[f].range[k][1]) {
            k++;
        }
        if (k == forms[f].len) {
            return k;
        }
    }
    return 0;
}

static bool reference_is_valid(struct dc_slice s)
{
    size_t i = 0;
    while (i < s.len) {
        size_t n = reference_char((const unsigned char *)s.ptr + i, s.len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

static void known_texts_are_judged_rightly(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice s;
        bool is_valid;
    } rows[] = {
        {{NULL, 0}, true},
        {{"", 0}, true},
        {{"\0", 1}, true},
        {{"plain ASCII that is longer than sixteen bytes", 45}, true},
        {{"\xd0\x9f\xd0\xbb\xd0\xbe\xd1\x89\xd0\xb0", 10}, true},
        {{"\xe2\x82\xac", 3}, true},
        {{"\xf0\x9f\x98\x80", 4}, true},
        {{"\xef\xbf\xbf", 3}, true},
        {{"\xf4\x8f\xbf\xbf", 4}, true},
        {{"\xf4\x90\x80\x80", 4}, false},
        {{"\xf5\x80\x80\x80", 4}, false},
        {{"\xc0\x80", 2}, false},
        {{"\xc1\xbf", 2}, false},
        {{"\xe0\x9f\xbf", 3}, false},
        {{"\xf0\x8f\xbf\xbf", 4}, false},
        {{"\xed\x9f\xbf", 3}, true},
        {{"\xed\xa0\x80", 3}, false},
        {{"\xed\xbf\xbf", 3}, false},
        {{"\xee\x80\x80", 3}, true},
        {{"\x80", 1}, false},
        {{"\xbf", 1}, false},
        {{"\xc2", 1}, false},
        {{"\xe2\x82", 2}, false},
        {{"\xf0\x9f\x98", 3}, false},
        {{"\xc2\x41", 2}, false},
        {{"\xfe", 1}, false},
        {{"\xff", 1}, false},
        {{"ASCII first, then wrong at last \x80", 33}, false},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        print_message("row %zu\n", i);
        assert_int_equal(dc_utf8_is_valid(rows[i].s), rows[i].is_valid);
        assert_int_equal(reference_is_valid(rows[i].s), rows[i].is_valid);
    }
}

static void all_sequences_of_two_and_many_of_four_bytes_agree_with_the_grammar(void **state)
{
    (void)state;
    static const unsigned char third[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2};
    unsigned char text[4];
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            text[0] = (unsigned char)a;
            text[1] = (unsigned char)b;
            struct dc_slice two = dc_slice_make(text, 2);
            assert_int_equal(dc_utf8_is_valid(two), reference_is_valid(two));
            for (size_t c = 0; a >= 0xC0 && c < sizeof(third); c++) {
                text[2] = third[c];
                struct dc_slice three = dc_slice_make(text, 3);
                assert_int_equal(dc_utf8_is_valid(three), reference_is_valid(three));
                for (size_t d = 0; d < sizeof(third); d++) {
                    text[3] = third[d];
                    struct dc_slice four = dc_slice_make(text, 4);
                    assert_int_equal(dc_utf8_is_valid(four), reference_is_valid(four));
                }
            }
        }
    }
}

/* Mostly valid text of all lengths of characters; returns its length. */
static size_t random_text(struct seeded_random *r, char *out, size_t cap)
{
    static const uint32_t limits[] = {0x80, 0x80, 0x80, 0x800, 0x10000, 0x110000};
    size_t len = 0;
    size_t want = seeded_below(r, cap - 4);
    while (len < want) {
        uint32_t cp = (uint32_t)seeded_below(r, limits[seeded_below(r, DC_ARRAY_LEN(limits))]);
        if (cp >= 0xD800 && cp <= 0xDFFF) {
            continue;
        }
        len += dc_utf8_encode(cp, out + len);
    }
    return len;
}

static void pieces_give_the_same_answer_however_they_are_cut(void **state)
{
    (void)state;
    struct seeded_random r = {11};
    char text[100];
    for (int run = 0; run < 20000; run++) {
        size_t len = random_text(&r, text, sizeof(text));
        if (len > 0 && run % 2 == 1) {
            text[seeded_below(&r, len)] = (char)seeded_below(&r, 256);
        }
        bool is_valid = reference_is_valid(dc_slice_make(text, len));
        assert_int_equal(dc_utf8_is_valid(dc_slice_make(text, len)), is_valid);
        struct dc_utf8 u = {0};
        bool is_accepted = true;
        for (size_t at = 0; at < len;) {
            size_t n = seeded_below(&r, 12);
            n = n > len - at ? len - at : n;
            is_accepted = dc_utf8_feed(&u, dc_slice_make(text + at, n)) && is_accepted;
            at += n;
        }
        assert_int_equal(is_accepted && dc_utf8_is_complete(&u), is_valid);
    }
}

static void an_error_is_reported_with_the_first_byte_that_rules_out_validity(void **state)
{
    (void)state;
    static const struct {
        struct dc_slice s;
        size_t wrong; /* index of that byte */
    } rows[] = {
        {{"\xe0\x9f", 2}, 1}, {{"\xed\xa0", 2}, 1}, {{"\xf0\x8f", 2}, 1},     {{"\xf4\x90", 2}, 1},
        {{"\xc0", 1}, 0},     {{"a\xf5", 2}, 1},    {{"\xe2\x82\x41", 3}, 2},
    };
    for (size_t i = 0; i < DC_ARRAY_LEN(rows); i++) {
        struct dc_utf8 u = {0};
        for (size_t k = 0; k < rows[i].s.len; k++) {
            assert_int_equal(dc_utf8_feed(&u, dc_slice_make(rows[i].s.ptr + k, 1)),
                             k < rows[i].wrong);
        }
        /* and stays wrong */
        assert_false(dc_utf8_feed(&u, DC_S("a")));
        assert_false(dc_utf8_feed(&u, DC_S("")));
        assert_false(dc_utf8_is_complete(&u));
    }
}

static void an_open_sequence_is_valid_so_far_but_not_complete(void **state)
{
    (void)state;
    struct dc_utf8 u = {0};
    assert_true(dc_utf8_is_complete(&u));
    assert_true(dc_utf8_feed(&u, DC_S("a\xf0\x9f")));
    assert_false(dc_utf8_is_complete(&u));
    assert_true(dc_utf8_feed(&u, DC_SLICE_NULL));
    assert_true(dc_utf8_feed(&u, DC_S("\x98\x80")));
    assert_true(dc_utf8_is_complete(&u));
}

static void counting_prefixes_and_decoding_agree_with_encoding(void **state)
{
    (void)state;
    struct seeded_random r = {4};
    char text[200];
    for (int run = 0; run < 3000; run++) {
        uint32_t cps[100];
        size_t ends[100];
        size_t n = seeded_below(&r, 40);
        size_t len = 0;
        for (size_t i = 0; i < n; i++) {
            do {
                cps[i] = (uint32_t)seeded_below(&r, UINT64_C(1) << (7 + seeded_below(&r, 15)));
            } while (cps[i] > 0x10FFFF || (cps[i] >= 0xD800 && cps[i] <= 0xDFFF));
            len += dc_utf8_encode(cps[i], text + len);
            ends[i] = len;
        }
        struct dc_slice s = dc_slice_make(text, len);
        assert_true(dc_utf8_is_valid(s));
        assert_int_equal(dc_utf8_count(s), n);
        assert_int_equal(dc_utf8_prefix(s, 0).len, 0);
        assert_int_equal(dc_utf8_prefix(s, n + 1).len, len);
        struct dc_slice rest = s;
        uint32_t cp;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(dc_utf8_prefix(s, i + 1).len, ends[i]);
            assert_true(dc_utf8_next(&rest, &cp));
            assert_int_equal(cp, cps[i]);
        }
        assert_false(dc_utf8_next(&rest, &cp));
    }
    assert_int_equal(dc_utf8_count(DC_SLICE_NULL), 0);
    assert_int_equal(dc_utf8_prefix(DC_SLICE_NULL, 3).len, 0);
}

static void a_cut_sequence_is_not_read_past_its_end(void **state)
{
    (void)state;
    static const char *const leads[] = {"\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xff"};
    for (size_t i = 0; i < DC_ARRAY_LEN(leads); i++) {
        /* exactly as long as the text: the sanitizer watches the end */
        size_t len = strlen(leads[i]);
        char *text = test_malloc(len);
        memcpy(text, leads[i], len);
        struct dc_slice s = dc_slice_make(text, len);
        uint32_t cp;
        assert_true(dc_utf8_next(&s, &cp));
        assert_false(dc_utf8_next(&s, &cp));
        test_free(text);
    }
}

static void encode(void *data)
{
    char out[4];
    dc_utf8_encode(*(uint32_t *)data, out);
}

static void what_is_no_scalar_value_is_not_encoded(void **state)
{
    (void)state;
    uint32_t wrong[] = {0xD800, 0xDFFF, 0x110000, UINT32_MAX};
    for (size_t i = 0; i < DC_ARRAY_LEN(wrong); i++) {
        assert_true(dies_with("assertion failed", encode, &wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_are_judged_rightly),
        cmocka_unit_test(all_sequences_of_two_and_many_of_four_bytes_agree_with_the_grammar),
        cmocka_unit_test(pieces_give_the_same_answer_however_they_are_cut),
        cmocka_unit_test(an_error_is_reported_with_the_first_byte_that_rules_out_validity),
        cmocka_unit_test(an_open_sequence_is_valid_so_far_but_not_complete),
        cmocka_unit_test(counting_prefixes_and_decoding_agree_with_encoding),
        cmocka_unit_test(a_cut_sequence_is_not_read_past_its_end),
        cmocka_unit_test(what_is_no_scalar_value_is_not_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
