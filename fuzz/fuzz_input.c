/* Field tables over foreign bytes, read as a query string and as a JSON object.  Whatever comes in:
 * OK and no problem, or INVALID and at least one; what is stored keeps the promises of its field.
 */
#include "base/input.h"
#include "base/utf8.h"
#include "fuzz.h"

struct target {
    struct dc_slice text, name, slug, id, key, required;
    int64_t limit, offset;
    bool flag;
};

#define AT(member) offsetof(struct target, member)
static const struct dc_field fields[] = {
    {"text", DC_FIELD_TEXT, DC_FIELD_NULLABLE, 0, 0, AT(text)},
    {"name", DC_FIELD_TEXT, DC_FIELD_TRIM | DC_FIELD_SINGLE_LINE, 1, 8, AT(name)},
    {"slug", DC_FIELD_SLUG, DC_FIELD_TRIM, 0, 0, AT(slug)},
    {"id", DC_FIELD_ID, DC_FIELD_NULLABLE, 0, 0, AT(id)},
    {"key", DC_FIELD_KEY, 0, 0, 0, AT(key)},
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, 100, AT(limit)},
    {"offset", DC_FIELD_INT, DC_FIELD_NULLABLE, 0, INT64_MAX, AT(offset)},
    {"flag", DC_FIELD_BOOL, 0, 0, 0, AT(flag)},
    {"r", DC_FIELD_TEXT, DC_FIELD_REQUIRED, 1, 0, AT(required)},
};

static bool is_printable_ascii(struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7E) {
            return false;
        }
    }
    return true;
}

static void check(enum dc_status st, const struct target *t, const struct dc_problems *problems)
{
    DC_ASSERT(st == DC_OK || st == DC_INVALID);
    DC_ASSERT((st == DC_OK) == (problems->count == 0));
    DC_ASSERT(problems->count <= DC_PROBLEMS_MAX);
    for (size_t i = 0; i < problems->count; i++) {
        DC_ASSERT(problems->items[i].field != NULL && problems->items[i].code != NULL);
        DC_ASSERT(is_printable_ascii(dc_slice_z(problems->items[i].detail)));
    }
    if (t->text.ptr != NULL) {
        DC_ASSERT(dc_text_is_valid(t->text));
    }
    if (t->name.ptr != NULL) {
        size_t count = dc_utf8_count(t->name);
        DC_ASSERT(dc_text_is_valid(t->name) && count >= 1 && count <= 8);
        DC_ASSERT(t->name.ptr[0] != ' ' && t->name.ptr[t->name.len - 1] != ' ');
        DC_ASSERT(dc_slice_find(t->name, '\n') == SIZE_MAX);
    }
    DC_ASSERT(t->slug.ptr == NULL || dc_slug_is_valid(t->slug));
    DC_ASSERT(t->id.ptr == NULL || dc_id_is_valid(t->id));
    DC_ASSERT(t->key.ptr == NULL ||
              (t->key.len >= 1 && t->key.len <= 128 && is_printable_ascii(t->key)));
    DC_ASSERT(t->limit == -7 || (t->limit >= 1 && t->limit <= 100));
    DC_ASSERT(t->offset == -7 || t->offset >= 0);
    DC_ASSERT(t->required.ptr == NULL || dc_utf8_count(t->required) >= 1);
    DC_ASSERT(st != DC_OK || t->required.ptr != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dc_slice in = dc_slice_make(data, size);
    struct target t = {.limit = -7, .offset = -7};
    struct dc_problems problems = {0};
    struct dc_arena arena;
    dc_arena_init(&arena, 256, 0);
    enum dc_status st = dc_input_query(fields, DC_ARRAY_LEN(fields), in, &arena, &t, &problems);
    check(st, &t, &problems);
    struct dc_slice value;
    if (dc_query_get(in, DC_S("text"), &arena, &value)) {
        DC_ASSERT(dc_slice_find(value, '\0') == SIZE_MAX && value.ptr[value.len] == '\0');
    }
    dc_arena_free(&arena);

    json_t *root = NULL;
    if (dc_json_parse(in, &root, NULL) == DC_OK) {
        struct target from_json = {.limit = -7, .offset = -7};
        problems.count = 0;
        st = dc_input_json(fields, DC_ARRAY_LEN(fields), root, &from_json, &problems);
        check(st, &from_json, &problems);
        json_decref(root);
    }
    return 0;
}
