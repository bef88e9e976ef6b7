/* Subjects, patterns and tokens of the bus against a plain model: a pattern is stretched to each
 * length that it can have, then compared word by word.  The input is three lines: two patterns and
 * a subject; all of it is also text that becomes a token, and a token that becomes text. */
#include "base/strbuf.h"
#include "bus/bus_index.h"
#include "bus/subjects.h"
#include "fuzz.h"

#define MAX_WORDS 256 /* of 255 bytes */

/* --- the model --- */

struct words {
    struct dc_slice at[MAX_WORDS];
    size_t n;
};

/* At every dot. */
static void split(struct dc_slice s, struct words *out)
{
    size_t start = 0;
    out->n = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i == s.len || s.ptr[i] == '.') {
            DC_ASSERT(out->n < MAX_WORDS);
            out->at[out->n++] = dc_slice_make(s.ptr + start, i - start);
            start = i + 1;
        }
    }
}

static bool is_word(struct dc_slice w, const char *text_z)
{
    return dc_slice_eq(w, dc_slice_z(text_z));
}

static bool model_is_valid(struct dc_slice s, bool is_pattern)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-=%:@~";
    static struct words w;
    if (s.len == 0 || s.len > DC_BUS_SUBJECT_MAX_BYTES) {
        return false;
    }
    split(s, &w);
    for (size_t i = 0; i < w.n; i++) {
        if (is_pattern && (is_word(w.at[i], "*") || (i + 1 == w.n && is_word(w.at[i], ">")))) {
            continue;
        }
        for (size_t k = 0; k < w.at[i].len; k++) {
            if (memchr(allowed, w.at[i].ptr[k], sizeof(allowed) - 1) == NULL) {
                return false;
            }
        }
        if (w.at[i].len == 0) {
            return false;
        }
    }
    return true;
}

/* The i-th of the words when the pattern stands for len of them; "*" for any. */
static struct dc_slice stretched(const struct words *w, size_t i)
{
    if (i + 1 >= w->n && is_word(w->at[w->n - 1], ">")) {
        return DC_S("*");
    }
    return w->at[i];
}

static bool can_have(const struct words *w, size_t len)
{
    return is_word(w->at[w->n - 1], ">") ? len >= w->n : len == w->n;
}

static bool model_contains(const struct words *outer, const struct words *inner)
{
    /* Beyond the longer one nothing new can happen. */
    for (size_t len = 1; len <= outer->n + inner->n; len++) {
        if (!can_have(inner, len)) {
            continue;
        }
        if (!can_have(outer, len)) {
            return false;
        }
        for (size_t i = 0; i < len; i++) {
            struct dc_slice o = stretched(outer, i), w = stretched(inner, i);
            if (!is_word(o, "*") && !dc_slice_eq(o, w)) {
                return false;
            }
        }
    }
    return true;
}

static bool model_overlaps(const struct words *a, const struct words *b)
{
    for (size_t len = 1; len <= a->n + b->n; len++) {
        bool fits = can_have(a, len) && can_have(b, len);
        for (size_t i = 0; fits && i < len; i++) {
            struct dc_slice x = stretched(a, i), y = stretched(b, i);
            fits = is_word(x, "*") || is_word(y, "*") || dc_slice_eq(x, y);
        }
        if (fits) {
            return true;
        }
    }
    return false;
}

/* --- against the model --- */

static void check_one(struct dc_slice s)
{
    bool is_subject = dc_bus_subject_is_valid(s);
    DC_ASSERT(is_subject == model_is_valid(s, false));
    DC_ASSERT(dc_bus_pattern_is_valid(s) == model_is_valid(s, true));
    DC_ASSERT(dc_bus_pattern_is_exact(s) == is_subject);
}

struct found {
    struct dc_bus_entry *entries;
    size_t hits[2];
};

static void note_hit(void *data, struct dc_bus_entry *e)
{
    struct found *found = data;
    found->hits[e == &found->entries[1]]++;
}

/* Subscriptions are found exactly when their patterns match. */
static void check_index(const struct dc_slice patterns[2], const bool want[2],
                        struct dc_slice subject)
{
    static const uint64_t seed[2] = {1, 2};
    struct dc_bus_index ix;
    struct dc_bus_entry entries[2] = {0};
    struct found found = {.entries = entries};
    dc_bus_index_init(&ix, seed);
    for (size_t i = 0; i < 2; i++) {
        dc_bus_index_add(&ix, &entries[i], patterns[i]);
    }
    dc_bus_index_match(&ix, subject, note_hit, &found);
    for (size_t i = 0; i < 2; i++) {
        DC_ASSERT(found.hits[i] == (want[i] ? 1 : 0));
    }
    dc_bus_index_remove(&ix, &entries[0]);
    dc_bus_index_match(&ix, subject, note_hit, &found);
    DC_ASSERT(found.hits[0] == (want[0] ? 1 : 0) && found.hits[1] == (want[1] ? 2 : 0));
    dc_bus_index_remove(&ix, &entries[1]);
    dc_bus_index_free(&ix);
}

static void check_patterns(const struct dc_slice patterns[2], struct dc_slice subject)
{
    static struct words w[2], s;
    for (size_t i = 0; i < 2; i++) {
        split(patterns[i], &w[i]);
    }
    DC_ASSERT(dc_bus_pattern_contains(patterns[0], patterns[1]) == model_contains(&w[0], &w[1]));
    DC_ASSERT(dc_bus_pattern_contains(patterns[1], patterns[0]) == model_contains(&w[1], &w[0]));
    DC_ASSERT(dc_bus_pattern_overlaps(patterns[0], patterns[1]) == model_overlaps(&w[0], &w[1]));
    DC_ASSERT(dc_bus_pattern_overlaps(patterns[1], patterns[0]) == model_overlaps(&w[0], &w[1]));
    if (!dc_bus_subject_is_valid(subject)) {
        return;
    }
    bool want[2];
    split(subject, &s);
    for (size_t i = 0; i < 2; i++) {
        want[i] = model_contains(&w[i], &s);
        DC_ASSERT(dc_bus_subject_matches(patterns[i], subject) == want[i]);
    }
    check_index(patterns, want, subject);
}

static void check_token(struct dc_slice in)
{
    struct dc_strbuf token = {0}, text = {0}, again = {0};
    dc_bus_token(&token, in);
    DC_ASSERT(token.len >= 1 && token.len <= (in.len == 0 ? 1 : 3 * in.len));
    for (size_t at = 0; at < token.len; at += DC_BUS_SUBJECT_MAX_BYTES) {
        size_t n = token.len - at;
        DC_ASSERT(dc_bus_subject_is_valid(dc_slice_make(
            token.ptr + at, n < DC_BUS_SUBJECT_MAX_BYTES ? n : DC_BUS_SUBJECT_MAX_BYTES)));
    }
    DC_ASSERT(dc_slice_find(dc_strbuf_slice(&token), '.') == SIZE_MAX);
    DC_ASSERT(dc_bus_token_decode(&text, dc_strbuf_slice(&token)));
    DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&text), in));
    /* The other way round: only one token stands for a text. */
    dc_strbuf_clear(&text);
    dc_strbuf_add(&text, DC_S("kept"));
    if (dc_bus_token_decode(&text, in)) {
        dc_bus_token(&again, dc_slice_make(text.ptr + 4, text.len - 4));
        DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&again), in));
    } else {
        DC_ASSERT(dc_slice_eq(dc_strbuf_slice(&text), DC_S("kept")));
    }
    dc_strbuf_free(&token);
    dc_strbuf_free(&text);
    dc_strbuf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dc_slice rest = dc_slice_make(data, size), lines[3] = {DC_SLICE_NULL};
    check_token(rest);
    for (size_t i = 0; i < DC_ARRAY_LEN(lines); i++) {
        if (dc_slice_take_token(&rest, '\n', &lines[i])) {
            check_one(lines[i]);
            check_token(lines[i]);
        }
    }
    if (dc_bus_pattern_is_valid(lines[0]) && dc_bus_pattern_is_valid(lines[1])) {
        check_patterns(lines, lines[2]);
    }
    return 0;
}
