/* JSON, both directions.  Reading: jansson behind one door with the limits of DESIGN §8 (valid
 * UTF-8, depth, size).  Writing: a writer over dc_strbuf that cannot produce
 * invalid JSON from valid calls; broadcasts are written once, so no tree is built. */
#ifndef DC_BASE_JSON_H
#define DC_BASE_JSON_H

#include "base/status.h"
#include "base/strbuf.h"
#include "base/time.h"
#include <jansson.h>

#define DC_JSON_MAX_DEPTH 32

/* One JSON value and nothing behind it.  Duplicate keys, NUL in keys, invalid UTF-8, more than
 * DC_JSON_MAX_DEPTH levels, integers beyond 64 bits: DC_MALFORMED with code invalid_json and a text
 * that names the position and never the content; DC_NO_MEMORY.  *out is owned by the caller
 * (json_decref), NULL on failure.  The caller bounds text.len. */
DC_MUST_USE enum dc_status dc_json_parse(struct dc_slice text, json_t **out, struct dc_error *err);
/* The same with another limit of levels, at most DC_JSON_DEEPEST: for answers of servers that pass
 * on what strangers wrote. */
#define DC_JSON_DEEPEST 1024
DC_MUST_USE enum dc_status dc_json_parse_deep(struct dc_slice text, size_t max_depth, json_t **out,
                                              struct dc_error *err);

/* Borrowed text of a string value, which may hold NUL (field tables refuse it); DC_SLICE_NULL when
 * missing or no string. */
struct dc_slice dc_json_text(const json_t *object, const char *key_z);

/* Writer.  Commas are its business:
 *   dc_jsonw_object(&w); dc_jsonw_key_text(&w, "id", id); dc_jsonw_end(&w); */
struct dc_jsonw {
    struct dc_strbuf *out;
    uint32_t depth;
    uint64_t is_array; /* bit per level */
    bool need_comma;
    bool after_key;
};

/* Appends to *out, which the caller owns; at most 64 levels. */
void dc_jsonw_init(struct dc_jsonw *w, struct dc_strbuf *out);
void dc_jsonw_object(struct dc_jsonw *w);
void dc_jsonw_array(struct dc_jsonw *w);
/* Ends the innermost object or array. */
void dc_jsonw_end(struct dc_jsonw *w);
void dc_jsonw_key(struct dc_jsonw *w, const char *key_z);
/* text.ptr NULL writes null; text must be valid UTF-8. */
void dc_jsonw_text(struct dc_jsonw *w, struct dc_slice text);
void dc_jsonw_i64(struct dc_jsonw *w, int64_t v);
void dc_jsonw_bool(struct dc_jsonw *w, bool v);
void dc_jsonw_null(struct dc_jsonw *w);
/* ISO 8601 text. */
void dc_jsonw_utc(struct dc_jsonw *w, struct dc_utc t);
/* A finished JSON value, trusted (written by us or by the database); an empty one writes null. */
void dc_jsonw_raw(struct dc_jsonw *w, struct dc_slice json);

void dc_jsonw_key_text(struct dc_jsonw *w, const char *key_z, struct dc_slice text);
void dc_jsonw_key_i64(struct dc_jsonw *w, const char *key_z, int64_t v);
void dc_jsonw_key_bool(struct dc_jsonw *w, const char *key_z, bool v);
void dc_jsonw_key_null(struct dc_jsonw *w, const char *key_z);
void dc_jsonw_key_utc(struct dc_jsonw *w, const char *key_z, struct dc_utc t);
void dc_jsonw_key_raw(struct dc_jsonw *w, const char *key_z, struct dc_slice json);

/* Only the escapes and quotes of one string, for framing by hand. */
void dc_json_quote(struct dc_strbuf *out, struct dc_slice text);

#endif
