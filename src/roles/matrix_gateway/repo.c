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

static const struct dc_db_stmt claim_account = {
    .sql = "insert into matrix_accounts (user_id, matrix_user_id, claimed_at) values ($1, $2, $3)"
           " on conflict (user_id) do update"
           " set matrix_user_id = excluded.matrix_user_id, claimed_at = excluded.claimed_at"
           " where matrix_accounts.provisioned_at is null and matrix_accounts.claimed_at <= $4"
           " returning user_id"};

struct dc_db_batch *dc_gateway_repo_claim(struct dc_db *db, struct dc_slice user_id,
                                          struct dc_slice matrix_user_id, struct dc_utc now)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_utc lost = {now.ms - DC_MATRIX_CLAIM_MS};
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_text(matrix_user_id),
                                         dc_db_utc(now), dc_db_utc(lost)};
    dc_db_batch_add(b, &claim_account, values, DC_ARRAY_LEN(values));
    return b;
}

static const struct dc_db_stmt abandon_account = {
    .sql = "update matrix_accounts set claimed_at = $2"
           " where user_id = $1 and provisioned_at is null"};

struct dc_db_batch *dc_gateway_repo_abandon(struct dc_db *db, struct dc_slice user_id)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_utc long_ago = {0};
    const struct dc_db_value values[] = {dc_db_text(user_id), dc_db_utc(long_ago)};
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
    .sql = "delete from matrix_accounts where user_id = $1 and provisioned_at is null"};

struct dc_db_batch *dc_gateway_repo_release(struct dc_db *db, struct dc_slice user_id)
{
    struct dc_db_batch *b = dc_db_batch_create(db, DC_DB_WRITE);
    const struct dc_db_value values[] = {dc_db_text(user_id)};
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
