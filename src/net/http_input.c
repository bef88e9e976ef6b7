/* Bodies and query strings by field tables. */
#include "net/http_inside.h"

/* Missing counts as JSON; "application/json; charset=…" and "application/…+json" do too. */
static bool is_json_type(struct dc_slice type)
{
    struct dc_slice media;
    if (!dc_slice_take_token(&type, ';', &media)) {
        return true;
    }
    media = dc_slice_trim(media);
    if (media.len == 0 || dc_slice_ieq(media, DC_S("application/json"))) {
        return true;
    }
    struct dc_slice suffix = DC_S("+json");
    return media.len > suffix.len &&
           dc_slice_ieq(dc_slice_make(media.ptr + media.len - suffix.len, suffix.len), suffix);
}

bool dc_http_read_json(struct dc_http_request *r, const struct dc_field *fields, size_t n,
                       void *target)
{
    struct dc_error err = {0};
    DC_ASSERT(r->json == NULL); /* a body is read once */
    struct dc_slice body = dc_http_body(r);
    if (body.len > 0 && !is_json_type(dc_http_header(r, DC_S("content-type")))) {
        err.status = DC_MEDIA_TYPE;
        dc_http_reply_error(r, &err);
        return false;
    }
    if (dc_json_parse(body.len == 0 ? DC_S("{}") : body, &r->json, &err) != DC_OK) {
        r->json = NULL;
        dc_http_reply_error(r, &err);
        return false;
    }
    struct dc_problems problems = {0};
    if (dc_input_json(fields, n, r->json, target, &problems) != DC_OK) {
        dc_http_reply_problems(r, &problems);
        return false;
    }
    return true;
}

bool dc_http_read_query(struct dc_http_request *r, const struct dc_field *fields, size_t n,
                        void *target)
{
    struct dc_problems problems = {0};
    if (dc_input_query(fields, n, dc_http_query(r), dc_http_arena(r), target, &problems) != DC_OK) {
        dc_http_reply_problems(r, &problems);
        return false;
    }
    return true;
}
