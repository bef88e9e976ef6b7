/* GET /city/feed (specs/city-backend §4.1, CONTRACT §2.6). */
#include "roles/city/repo.h"
#include "roles/request.h"

struct feed_query {
    int64_t limit, offset;
    struct dc_slice before;
};
static const struct dc_field feed_fields[] = {
    {"limit", DC_FIELD_INT, DC_FIELD_CLAMP, 1, 100, offsetof(struct feed_query, limit)},
    {"offset", DC_FIELD_INT, 0, 0, INT32_MAX, offsetof(struct feed_query, offset)},
    {"before", DC_FIELD_ID, 0, 0, 0, offsetof(struct feed_query, before)},
};

/* A request on its way; lives in its arena. */
struct asking {
    struct dc_city *city;
    struct dc_http_request *r;
    bool has_cursor;
};

static void on_feed(void *data, enum dc_status st, const struct dc_db_result *const *results,
                    size_t n, const struct dc_error *err)
{
    struct asking *a = data;
    struct dc_city *city = a->city;
    (void)n;
    if (st != DC_OK) {
        dc_http_reply_error(a->r, err);
    } else if (a->has_cursor && dc_db_rows(results[0]) == 0) {
        dc_request_fail_field(a->r, "before", "unknown_cursor", "names no feed event");
    } else {
        struct dc_strbuf out = {0};
        struct dc_jsonw w;
        dc_jsonw_init(&w, &out);
        dc_jsonw_array(&w);
        for (size_t i = 0; i < dc_db_rows(results[1]); i++) {
            struct dc_feed_event e;
            dc_repo_read_feed(results[1], i, &e);
            dc_feed_event_write(&e, &w);
        }
        dc_jsonw_end(&w);
        dc_http_reply_json(a->r, 200, &out);
    }
    dc_city_pending_end(city);
}

static void get_feed(void *ctx, struct dc_http_request *r)
{
    struct dc_city *city = ctx;
    struct feed_query q = {.limit = 20};
    if (!dc_city_may_read(city, r) ||
        !dc_http_read_query(r, feed_fields, DC_ARRAY_LEN(feed_fields), &q)) {
        return;
    }
    struct asking *a = dc_request_alloc(r, sizeof(*a));
    if (a == NULL) {
        return;
    }
    *a = (struct asking){city, r, q.before.ptr != NULL};
    dc_city_submit(city, r, dc_repo_feed(city->ctx->db, q.before, q.offset, q.limit), on_feed, a);
}

static const struct dc_route routes[] = {{DC_GET, "/city/feed", get_feed}};

void dc_city_routes_feed(struct dc_city *city)
{
    dc_city_add_routes(city, routes, DC_ARRAY_LEN(routes));
}
