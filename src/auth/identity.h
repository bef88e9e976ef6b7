/* Who asks: finds the token of a request (Authorization: Bearer, ?token=, ?access_token=, WebSocket
 * subprotocol "bearer, <token>"), verifies it and gives the identity (DESIGN §3 rule 1, CONTRACT
 * §1.3).  In open mode a request without token is anonymous, or whoever it says it is. */
#ifndef DC_AUTH_IDENTITY_H
#define DC_AUTH_IDENTITY_H

#include "auth/token.h"
#include "net/http.h"

struct dc_auth {
    struct dc_tokens *tokens;     /* borrowed; NULL: every token is refused */
    bool is_open;                 /* AUTH_MODE=open */
    struct dc_slice internal_key; /* INTERNAL_API_KEY; empty: /internal is closed */
};

struct dc_identity {
    struct dc_slice user_id;  /* empty: nobody (public reads) */
    struct dc_slice username; /* from the token; else "User-<last 4>", or "Anonymous" */
    struct dc_slice roles;
    struct dc_utc expires_at; /* 0: never */
    bool is_verified;         /* by a token */
};

/* DC_OK with an identity (maybe nobody), DC_UNAUTHORIZED for a token that is there and wrong, or
 * DC_NO_MEMORY.  Two tokens that differ, wherever they stand, are as wrong as none that holds: who
 * reads one of them on the way could mean the other.  Slices live in the request's arena. */
DC_MUST_USE enum dc_status dc_identify(const struct dc_auth *auth, struct dc_http_request *r,
                                       struct dc_identity *out, struct dc_error *err);
/* The handshake offers the subprotocol "bearer", with or without a token behind it: answer with it.
 */
bool dc_offers_bearer(const struct dc_http_request *r);
/* Binds an identity to what a body or a frame claims (DESIGN §3 rule 1).  claimed: a user_id or
 * DC_SLICE_NULL.  With a token another id is DC_FORBIDDEN user_mismatch; without one it is
 * DC_UNAUTHORIZED, except in open mode, where the claim (or "anonymous") is taken; a claim that
 * cannot be an id is DC_INVALID. Slices are copied into the arena; on failure *id is as it was. */
DC_MUST_USE bool dc_identity_claim(const struct dc_auth *auth, struct dc_arena *arena,
                                   struct dc_slice claimed, struct dc_identity *id,
                                   struct dc_error *err);
/* A body may name its author in other words than user_id (author_user_id, created_by): nobody but
 * the identity itself, else false and DC_FORBIDDEN user_mismatch. author: or DC_SLICE_NULL. */
DC_MUST_USE bool dc_identity_is(const struct dc_identity *id, struct dc_slice author,
                                struct dc_error *err);
/* The same for a request: answers 403 itself and returns false. */
DC_MUST_USE bool dc_require_author(struct dc_http_request *r, const struct dc_identity *who,
                                   struct dc_slice author);
/* For reads that are open to everybody: a token that is there must be valid all the same; answers
 * 401 itself and returns false otherwise. */
DC_MUST_USE bool dc_allow_public(const struct dc_auth *auth, struct dc_http_request *r);
/* For writes, before anything else of the request is looked at, so that strangers learn nothing
 * about rooms and bodies: a valid token must be there (in open mode: none, or a valid one); answers
 * 401 itself and returns false otherwise. */
DC_MUST_USE bool dc_require_token(const struct dc_auth *auth, struct dc_http_request *r);
/* Both steps for a request that needs somebody: answers 401 or 403 itself and returns false. */
DC_MUST_USE bool dc_require_identity(const struct dc_auth *auth, struct dc_http_request *r,
                                     struct dc_slice claimed, struct dc_identity *out);

/* /internal/…: the key in X-Internal-API-Key or X-Internal-Service-Token (CONTRACT §1.3), compared
 * in constant time; answers 401 itself and returns false otherwise. */
DC_MUST_USE bool dc_require_internal_key(const struct dc_auth *auth, struct dc_http_request *r);

#endif
