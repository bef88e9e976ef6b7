/* Reading results: everything is kept as text, numbers are parsed when they are asked for. */
#include "db/db_priv.h"

size_t dc_db_rows(const struct dc_db_result *r)
{
    return r->rows;
}

size_t dc_db_affected(const struct dc_db_result *r)
{
    return r->affected;
}

struct dc_slice dc_db_get_text(const struct dc_db_result *r, size_t row, size_t col)
{
    DC_ASSERT(row < r->rows && col < r->cols);
    return r->cell(r, row, col);
}

bool dc_db_is_null(const struct dc_db_result *r, size_t row, size_t col)
{
    return dc_db_get_text(r, row, col).ptr == NULL;
}

int64_t dc_db_get_int(const struct dc_db_result *r, size_t row, size_t col)
{
    struct dc_slice text = dc_db_get_text(r, row, col);
    int64_t v = 0;

    return text.ptr != NULL && dc_slice_to_i64(text, &v) ? v : 0;
}

bool dc_db_get_bool(const struct dc_db_result *r, size_t row, size_t col)
{
    struct dc_slice text = dc_db_get_text(r, row, col);

    /* PostgreSQL writes t and f, SQLite 1 and 0. */
    return dc_slice_eq(text, DC_S("t")) || dc_slice_eq(text, DC_S("1"));
}

struct dc_utc dc_db_get_utc(const struct dc_db_result *r, size_t row, size_t col)
{
    struct dc_utc t = {0};

    if (r->utc_is_ms) {
        t.ms = dc_db_get_int(r, row, col);
        return t;
    }
    struct dc_slice text = dc_db_get_text(r, row, col);
    if (text.ptr == NULL || !dc_utc_parse(text, &t)) {
        t.ms = 0;
    }
    return t;
}
