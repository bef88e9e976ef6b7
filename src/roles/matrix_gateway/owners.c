/* Whose accounts these are: for the presence aggregator, which cannot read it from the name of an
 * account whose resident has too long an id (matrix/matrix_id.h).  Asks the database and nobody
 * else: the homeserver may be away. */
#include "matrix/matrix_id.h"
#include "roles/matrix_gateway/gateway.h"
#include "roles/matrix_gateway/repo.h"
#include "roles/request.h"

#define ASKED_MAX 200

static void on_owners(void *data, enum dc_status st, const struct dc_db_result *const *results,
                      size_t n, const struct dc_error *err)
{
    struct dc_gateway_flow *flow = data;
    struct dc_strbuf out = {0};
    struct dc_jsonw w;
    if (st != DC_OK) {
        dc_gateway_fail(flow, err, -1);
        return;
    }
    DC_ASSERT(n == 1);
    dc_jsonw_init(&w, &out);
    dc_jsonw_object(&w);
    dc_jsonw_key(&w, "owners");
    dc_jsonw_array(&w);
    for (size_t i = 0; i < dc_db_rows(results[0]); i++) {
        struct dc_matrix_owner owner;
        dc_gateway_repo_read_owner(results[0], i, &owner);
        dc_jsonw_object(&w);
        dc_jsonw_key_text(&w, "matrix_user_id", owner.matrix_user_id);
        dc_jsonw_key_text(&w, "user_id", owner.user_id);
        dc_jsonw_end(&w);
    }
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    dc_gateway_reply(flow, &out);
}

/* Writes the list for the database; false: it is none of at most ASKED_MAX user ids. */
static bool read_ids(const json_t *list, struct dc_strbuf *out)
{
    struct dc_jsonw w;
    struct dc_slice localpart;
    struct dc_slice server;
    size_t n = json_array_size(list);
    if (n == 0 || n > ASKED_MAX) {
        return false;
    }
    dc_jsonw_init(&w, out);
    dc_jsonw_array(&w);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        struct dc_slice id = dc_slice_make(json_string_value(item), json_string_length(item));
        if (!json_is_string(item) || !dc_matrix_id_split(id, '@', &localpart, &server)) {
            return false;
        }
        dc_jsonw_text(&w, id);
    }
    dc_jsonw_end(&w);
    return dc_strbuf_ok(out);
}

void dc_gateway_find_owners(void *ctx, struct dc_http_request *r)
{
    struct dc_gateway *g = ctx;
    struct dc_error err = {0};
    struct dc_strbuf ids = {0};
    json_t *json = NULL;
    struct dc_gateway_flow *flow = dc_gateway_flow_begin(g, r, sizeof(*flow));
    if (flow == NULL) {
        return;
    }
    enum dc_status st = dc_json_parse(dc_http_body(r), &json, &err);
    if (st != DC_OK) {
        dc_gateway_fail(flow, &err, -1);
        return;
    }
    if (!read_ids(json_object_get(json, "matrix_user_ids"), &ids)) {
        dc_gateway_fail_field(flow, "matrix_user_ids", "invalid_format",
                              "must be a list of 1 to 200 user ids such as @name:example.org");
    } else {
        st = dc_db_submit(dc_gateway_repo_owners(g->ctx->db, dc_strbuf_slice(&ids)), on_owners,
                          flow, NULL, &err);
        if (st != DC_OK) {
            dc_gateway_fail(flow, &err, -1);
        }
    }
    dc_strbuf_free(&ids);
    json_decref(json);
}
