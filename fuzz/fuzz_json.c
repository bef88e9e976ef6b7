/* Reading arbitrary bytes as JSON: never crashes, fills the error exactly when it refuses, and what
 * it accepts reads the same after it was written again - by jansson, and by our own writer. */
#include "base/json.h"
#include "base/utf8.h"
#include "fuzz.h"
#include <stdlib.h>

static void write_value(struct dc_jsonw *w, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        dc_jsonw_object(w);
        for (void *it = json_object_iter(value); it != NULL;
             it = json_object_iter_next(value, it)) {
            dc_jsonw_key(w, json_object_iter_key(it));
            write_value(w, json_object_iter_value(it));
        }
        dc_jsonw_end(w);
        return;
    case JSON_ARRAY:
        dc_jsonw_array(w);
        for (size_t i = 0; i < json_array_size(value); i++) {
            write_value(w, json_array_get(value, i));
        }
        dc_jsonw_end(w);
        return;
    case JSON_STRING: {
        struct dc_slice text = dc_slice_make(json_string_value(value), json_string_length(value));
        DC_ASSERT(dc_utf8_is_valid(text)); /* NUL is text here: field tables refuse it */
        dc_jsonw_text(w, text);
        return;
    }
    case JSON_INTEGER:
        dc_jsonw_i64(w, json_integer_value(value));
        return;
    case JSON_REAL: {
        char *real = json_dumps(value, JSON_ENCODE_ANY);
        DC_ASSERT(real != NULL);
        dc_jsonw_raw(w, dc_slice_z(real));
        free(real);
        return;
    }
    case JSON_TRUE:
    case JSON_FALSE:
        dc_jsonw_bool(w, json_is_true(value));
        return;
    case JSON_NULL:
        dc_jsonw_null(w);
        return;
    }
}

/* text is JSON and equal to expected. */
static void check_reads_as(struct dc_slice text, const json_t *expected)
{
    json_t *again = NULL;
    struct dc_error err;
    enum dc_status st = dc_json_parse(text, &again, &err);
    DC_ASSERT(st == DC_OK);
    DC_ASSERT(json_equal(expected, again));
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *root = NULL;
    struct dc_error err = {0};
    enum dc_status st = dc_json_parse(dc_slice_make(data, size), &root, &err);
    if (st != DC_OK) {
        DC_ASSERT(st == DC_MALFORMED && root == NULL && err.status == st);
        DC_ASSERT(strcmp(dc_error_code(&err), "invalid_json") == 0);
        DC_ASSERT(strlen(dc_error_text(&err)) > 0);
        return 0;
    }
    DC_ASSERT(root != NULL);
    char *dumped = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    DC_ASSERT(dumped != NULL);
    check_reads_as(dc_slice_z(dumped), root);
    free(dumped);

    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &out);
    write_value(&w, root);
    DC_ASSERT(dc_strbuf_ok(&out) && w.depth == 0);
    check_reads_as(dc_strbuf_slice(&out), root);
    dc_strbuf_free(&out);
    json_decref(root);
    return 0;
}
