/* A resident's account on the homeserver: found, or made.  Member of what a handler keeps; its
 * texts live as long as the request.
 *
 *   find the row ── provisioned ────────────────────────────────┐
 *     └─ none, or a claim that was lost                         │
 *        is the account free? ─ claim ─ make it ─ confirm ──────┴─ ready
 *
 * The claim is renewed as long as the homeserver takes; who is killed meanwhile keeps nobody
 * waiting for longer than DC_MATRIX_CLAIM_MS (repo.h).
 *
 * An account that was there before our claim is somebody else's and stays so (account_taken): the
 * registration of the application service keeps such from being made at all.  Accounts have no
 * password. */
#ifndef DC_ROLES_MATRIX_GATEWAY_ACCOUNTS_H
#define DC_ROLES_MATRIX_GATEWAY_ACCOUNTS_H

#include "roles/matrix_gateway/gateway.h"

#define DC_GATEWAY_NAME_MAX_CHARS 64

/* Zero-initialise, then set the first group. */
struct dc_gateway_account {
    struct dc_gateway_flow *flow;
    struct dc_slice user_id;
    struct dc_slice display_name; /* ptr NULL: whatever it is */
    void (*ready)(struct dc_gateway_account *a);
    /* Others may go on already; the flow is to be ended. */
    void (*failed)(struct dc_gateway_account *a, const struct dc_error *err,
                   int64_t retry_after_ms);

    struct dc_slice matrix_user_id; /* once ready */

    /* accounts.c */
    struct dc_list link;      /* in g->provisioning */
    struct dc_list waiters;   /* accounts of the same user, which look when this one is closed */
    struct dc_list wait_link; /* in another's waiters */
    bool is_fresh;            /* nobody had claimed the account before */
    bool has_claim;           /* others keep away until it is confirmed or given up */
    struct dc_utc claim;
    struct dc_timeout renewal; /* in g->renewals */
    bool is_renewing;
    void (*after_renewal)(struct dc_gateway_account *a); /* what waits for it to end */
    bool was_there, is_made; /* what the homeserver says of the account: else a failure, in why */
    bool is_unmade;          /* it was refused, or never asked for */
    bool is_repair;          /* the row is there, the account is not (any more) */
    bool name_is_known;      /* the homeserver shows display_name already */
    void (*named)(struct dc_gateway_account *a);
    struct dc_error why; /* of a failure that waits for the claim to be given up */
    int64_t retry_after_ms;
};

/* For dc_timeouts_create(), with DC_MATRIX_CLAIM_RENEW_MS. */
void dc_gateway_renew_claim(void *data, struct dc_timeout *t);

/* One of ready and failed runs later, once.  One at a time for each user: requests that come
 * together get one account. */
void dc_gateway_account_open(struct dc_gateway_account *a);
/* The homeserver says that there is no such account (a new database, say): makes it again, and
 * ready or failed runs once more.  false: that has been done already, or it has just been made. */
DC_MUST_USE bool dc_gateway_account_repair(struct dc_gateway_account *a);
/* Others see display_name from now on; named runs once, now or later, also when it could not be
 * set: an old name is better than none. */
void dc_gateway_account_show_name(struct dc_gateway_account *a, struct dc_matrix_auth auth,
                                  void (*named)(struct dc_gateway_account *a));
/* The account is as it shall be: who waited for it looks.  Harmless twice. */
void dc_gateway_account_close(struct dc_gateway_account *a);

#endif
