/* SQL of matrix-gateway. */
#include "roles/matrix_gateway/repo.h"

static const struct dc_db_stmt select_account = {
    .sql = "select matrix_user_id, display_name, provisioned_at from matrix_accounts"
           " where user_id = $1"};

struct dc_db_batch *dc_gateway_repo_find(struct dc_db *db, struct dc_slice user_id)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value values[] = {dc_db_text(user_id)};
    dc_db_batch_add(b, &select_account, values, DC_ARRAY_LEN(values));
    return b;
}

/* Whole milliseconds, as a claim is compared. */
#define NOW_POSTGRES "date_trunc('milliseconds', clock_timestamp())"
#define NOW_SQLITE   "cast(round((julianday('now') - 2440587.5) * 86400000) as integer)"

/* A row that somebody has put in since we looked is his. */
#define CLAIM_FRESH(now)                                                                           \
    "insert into matrix_accounts (user_id, matrix_user_id, claimed_at) values ($1, $2, " now ")"   \
    " on conflict (user_id) do nothing returning claimed_at"
static const struct dc_db_stmt claim_fresh = {.sql = CLAIM_FRESH(NOW_POSTGRES),
                                              .sqlite = CLAIM_FRESH(NOW_SQLITE)};

#define CLAIM_AGAIN(now, lost)                                                                     \
    "update matrix_accounts set matrix_user_id = $2, claimed_at = " now                            \
    " where user_id = $1 and provisioned_at is null and claimed_at <= " lost                       \
    " returning claimed_at"
static const struct dc_db_stmt claim_again = {
    .sql = CLAIM_AGAIN(NOW_POSTGRES, NOW_POSTGRES " - $3 * interval '1 millisecond'"),
    .sqlite = CLAIM_AGAIN(NOW_SQLITE, NOW_SQLITE " - $3")};

struct dc_db_batch *dc_gateway_repo_claim(struct dc_db *db, struct dc_slice user_id,
                                          struct dc_slice matrix_user_id, bool is_fresh)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_text(matrix_user_id),
                                         dc_db_int(DC_MATRIX_CLAIM_MS)};
    dc_db_batch_add(b, is_fresh ? &claim_fresh : &claim_again, values, is_fresh ? 2 : 3);
    return b;
}

#define RENEW(now)                                                                                 \
    "update matrix_accounts set claimed_at = " now                                                 \
    " where user_id = $1 and claimed_at = $2 and provisioned_at is null returning claimed_at"
static const struct dc_db_stmt renew_claim = {.sql = RENEW(NOW_POSTGRES),
                                              .sqlite = RENEW(NOW_SQLITE)};

struct dc_db_batch *dc_gateway_repo_renew(struct dc_db *db, struct dc_slice user_id,
                                          struct dc_utc claim)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_utc(claim)};
    dc_db_batch_add(b, &renew_claim, values, DC_ARRAY_LEN(values));
    return b;
}

bool dc_gateway_repo_read_claim(const struct dc_db_result *result, struct dc_utc *claim)
{
    if (dc_db_rows(result) == 0) {
        return false;
    }
    *claim = dc_db_get_utc(result, 0, 0);
    return true;
}

static const struct dc_db_stmt abandon_account = {
    .sql = "update matrix_accounts set claimed_at = $3"
           " where user_id = $1 and claimed_at = $2 and provisioned_at is null"};

struct dc_db_batch *dc_gateway_repo_abandon(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc claim)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_utc long_ago = {0};
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_utc(claim),
                                         dc_db_utc(long_ago)};
    dc_db_batch_add(b, &abandon_account, values, DC_ARRAY_LEN(values));
    return b;
}

static const struct dc_db_stmt confirm_account = {
    .sql = "update matrix_accounts set provisioned_at = $2 where user_id = $1"};

struct dc_db_batch *dc_gateway_repo_confirm(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc now)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_utc(now)};
    dc_db_batch_add(b, &confirm_account, values, DC_ARRAY_LEN(values));
    return b;
}

static const struct dc_db_stmt release_account = {
    .sql =
        "delete from matrix_accounts"
        " where user_id = $1 and claimed_at = $2 and provisioned_at is null returning claimed_at"};

struct dc_db_batch *dc_gateway_repo_release(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc claim)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_utc(claim)};
    dc_db_batch_add(b, &release_account, values, DC_ARRAY_LEN(values));
    return b;
}

static const struct dc_db_stmt name_account = {
    .sql = "update matrix_accounts set display_name = $2 where user_id = $1"};

struct dc_db_batch *dc_gateway_repo_set_name(struct dc_db *db, struct dc_slice user_id,
                                             struct dc_slice display_name)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_text(display_name)};
    dc_db_batch_add(b, &name_account, values, DC_ARRAY_LEN(values));
    return b;
}

#define OWNER_COLUMNS                                                                              \
    "select matrix_user_id, user_id, display_name from matrix_accounts"                            \
    " where provisioned_at is not null and matrix_user_id in "
static const struct dc_db_stmt select_owners = {
    .sql = OWNER_COLUMNS "(select jsonb_array_elements_text($1))",
    .sqlite = OWNER_COLUMNS "(select value from json_each($1))"};

struct dc_db_batch *dc_gateway_repo_owners(struct dc_db *db, struct dc_slice matrix_user_ids_json)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_READ);
    const struct dc_db_value values[] = {dc_db_json(matrix_user_ids_json)};
    dc_db_batch_add(b, &select_owners, values, DC_ARRAY_LEN(values));
    return b;
}

void dc_gateway_repo_read_owner(const struct dc_db_result *result, size_t row,
                                struct dc_matrix_owner *owner)
{
    *owner = (struct dc_matrix_owner){.matrix_user_id = dc_db_get_text(result, row, 0),
                                      .user_id = dc_db_get_text(result, row, 1),
                                      .display_name = dc_db_get_text(result, row, 2)};
}

void dc_gateway_repo_read(const struct dc_db_result *result, struct dc_matrix_account *account)
{
    *account = (struct dc_matrix_account){.is_there = dc_db_rows(result) > 0};
    if (account->is_there) {
        account->matrix_user_id = dc_db_get_text(result, 0, 0);
        account->display_name = dc_db_get_text(result, 0, 1);
        account->is_provisioned = !dc_db_is_null(result, 0, 2);
    }
}
