/* The one way to validate input: a field table describes what a JSON object, a query string or a
 * frame may contain; decoding fills a C struct and collects every problem for the 422 answer
 * (DESIGN §8: `errors:[{field, code, detail}]`).  Unknown members are ignored, as clients of the
 * original send more than is documented. */
#ifndef DC_BASE_INPUT_H
#define DC_BASE_INPUT_H

#include "base/arena.h"
#include "base/json.h"

enum dc_field_type {
    DC_FIELD_TEXT, /* struct dc_slice; min/max count code points; valid UTF-8 without NUL */
    DC_FIELD_INT,  /* int64_t */
    DC_FIELD_BOOL, /* bool */
    DC_FIELD_SLUG, /* struct dc_slice: ^[a-z0-9][a-z0-9_-]{0,62}$ */
    DC_FIELD_ID,   /* struct dc_slice: 1..128 characters, a line without blanks */
    DC_FIELD_KEY,  /* struct dc_slice: 1..128 printable ASCII (idempotency keys) */
};

enum dc_field_flag {
    DC_FIELD_REQUIRED = 1,
    DC_FIELD_NULLABLE = 2,     /* null counts as missing */
    DC_FIELD_TRIM = 4,         /* blanks at both ends are dropped before checking */
    DC_FIELD_CLAMP = 8,        /* an integer above max becomes max instead of an error */
    DC_FIELD_SINGLE_LINE = 16, /* must be dc_line_is_valid */
    DC_FIELD_NOT_BLANK = 32,   /* a text that has a bound must not be of blanks only */
};

/* Missing fields leave the target as it is: set defaults before decoding. A DC_FIELD_TEXT with a
 * NULL ptr after decoding was not given. */
struct dc_field {
    const char *name;
    enum dc_field_type type;
    unsigned flags;
    int64_t min, max; /* DC_FIELD_TEXT: code points; DC_FIELD_INT: value; both 0: no bound */
    size_t offset;    /* in the target struct */
};

#define DC_PROBLEMS_MAX 8
struct dc_problem {
    const char *field;
    const char *code; /* missing, wrong_type, too_short, too_long, out_of_range, invalid_text,
                         invalid_format, or a caller's own */
    char detail[96];
};
/* Zero-initialise; every check adds to it, so that several readers can share one. */
struct dc_problems {
    size_t count; /* at most DC_PROBLEMS_MAX are kept */
    struct dc_problem items[DC_PROBLEMS_MAX];
};

void dc_problem_add(struct dc_problems *p, const char *field, const char *code, const char *fmt,
                    ...) DC_PRINTF(4, 5);

/* object must be a JSON object (else one problem "body", wrong_type).  Text slices are borrowed
 * from object.  DC_OK, or DC_INVALID with *problems filled. */
DC_MUST_USE enum dc_status dc_input_json(const struct dc_field *fields, size_t n,
                                         const json_t *object, void *target,
                                         struct dc_problems *problems);
/* query: raw text behind '?', decoded into the arena; the first of repeated names counts.  An empty
 * value of a nullable field counts as missing; booleans are true, false, 1, 0.  Also DC_NO_MEMORY,
 * when the arena is at its end. */
DC_MUST_USE enum dc_status dc_input_query(const struct dc_field *fields, size_t n,
                                          struct dc_slice query, struct dc_arena *arena,
                                          void *target, struct dc_problems *problems);
/* One decoded value of a query string; false if missing or malformed. */
bool dc_query_get(struct dc_slice query, struct dc_slice name, struct dc_arena *arena,
                  struct dc_slice *out);

bool dc_slug_is_valid(struct dc_slice s);
bool dc_id_is_valid(struct dc_slice s);
/* An id, or the Matrix id of somebody without an account in the city, which may be longer. */
#define DC_AUTHOR_ID_MAX_BYTES 255
bool dc_author_id_is_valid(struct dc_slice s);
bool dc_key_is_valid(struct dc_slice s);
/* Valid UTF-8 without NUL. */
bool dc_text_is_valid(struct dc_slice s);
/* And without control characters, line breaks, and what turns the direction of text: fit to be
 * shown as a name in somebody else's line. */
bool dc_line_is_valid(struct dc_slice s);
/* Without the blanks of Unicode at its ends; s must be valid UTF-8. */
struct dc_slice dc_text_trim(struct dc_slice s);

#endif
