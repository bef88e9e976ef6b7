/* SQL of matrix-gateway: which DAARION user has which Matrix account (table matrix_accounts).
 *
 * A row is a claim from the moment somebody sets out to make the account (claimed_at), and a fact
 * once it has been made (provisioned_at).  So a crash in between is told from an account that a
 * stranger has made, and two processes do not make one account at the same time. */
#ifndef DC_ROLES_MATRIX_GATEWAY_REPO_H
#define DC_ROLES_MATRIX_GATEWAY_REPO_H

#include "db/db.h"

/* A claim is a lease: whoever makes the account renews it, and when he is killed the next one waits
 * for no longer than this.  By the database's clock, so that machines need not agree on the time.
 * The moment of the last renewal is what a claim is known by: who has been away for too long finds
 * that it is not his any more. */
#define DC_MATRIX_CLAIM_MS       5000
#define DC_MATRIX_CLAIM_RENEW_MS 1500

struct dc_matrix_account {
    bool is_there;
    bool is_provisioned;
    struct dc_slice matrix_user_id;
    struct dc_slice display_name; /* ptr NULL: none set yet */
};

/* One result: read with dc_gateway_repo_read(). */
struct dc_db_batch *dc_gateway_repo_find(struct dc_db *db, struct dc_slice user_id);
/* One result; a row in it: the claim is ours, read with dc_gateway_repo_read_claim().  is_fresh:
 * for a user who has no row, else one whose claim is over.  DC_CONFLICT: the Matrix id belongs to
 * another user. */
struct dc_db_batch *dc_gateway_repo_claim(struct dc_db *db, struct dc_slice user_id,
                                          struct dc_slice matrix_user_id, bool is_fresh);
/* One result; a row in it: the claim, which is another one now, is still ours. */
struct dc_db_batch *dc_gateway_repo_renew(struct dc_db *db, struct dc_slice user_id,
                                          struct dc_utc claim);
/* Nobody is making the account any more, and whether it has been made is not known: the next who
 * comes may claim it at once. */
struct dc_db_batch *dc_gateway_repo_abandon(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc claim);
/* The account has been made. */
struct dc_db_batch *dc_gateway_repo_confirm(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc now);
/* The account cannot be ours, or has certainly not been made: gives the claim up.  One result;
 * without a row it was not ours any more. */
struct dc_db_batch *dc_gateway_repo_release(struct dc_db *db, struct dc_slice user_id,
                                            struct dc_utc claim);
/* false: there is no row. */
DC_MUST_USE bool dc_gateway_repo_read_claim(const struct dc_db_result *result,
                                            struct dc_utc *claim);
struct dc_db_batch *dc_gateway_repo_set_name(struct dc_db *db, struct dc_slice user_id,
                                             struct dc_slice display_name);

/* Whose accounts these are (a JSON array of Matrix ids): a row for each that is ours. */
struct dc_db_batch *dc_gateway_repo_owners(struct dc_db *db, struct dc_slice matrix_user_ids_json);
struct dc_matrix_owner {
    struct dc_slice matrix_user_id, user_id;
    struct dc_slice display_name; /* ptr NULL: none set yet */
};
void dc_gateway_repo_read_owner(const struct dc_db_result *result, size_t row,
                                struct dc_matrix_owner *owner);

/* Texts are borrowed from the result. */
void dc_gateway_repo_read(const struct dc_db_result *result, struct dc_matrix_account *account);

#endif
