/* Access tokens: JWT, HS256 (RFC 7515/7519) by cjose (CONTRACT §9: sub, name, roles, type=access,
 * iss=daarion-auth, iat, exp).  Nothing but HS256 is accepted; `none` and other algorithms are
 * refused before any key is touched.  Verified tokens are remembered (keyed hash of the whole
 * token, bounded, until exp) so that reconnecting crowds cost one HMAC of cjose each only once. */
#ifndef DC_AUTH_TOKEN_H
#define DC_AUTH_TOKEN_H

#include "base/arena.h"
#include "base/status.h"
#include "base/strbuf.h"
#include "base/time.h"

#define DC_TOKEN_MAX_BYTES 4096

struct dc_claims {
    struct dc_slice sub;   /* 1..128 characters, DC_FIELD_ID rules */
    struct dc_slice name;  /* may be empty */
    struct dc_slice roles; /* comma-separated */
    struct dc_utc issued_at, expires_at;
};

struct dc_tokens;
/* secret: at least 16 bytes (DC_CONFIG); copied, wiped on destroy. */
DC_MUST_USE enum dc_status dc_tokens_create(struct dc_slice secret, struct dc_tokens **out,
                                            struct dc_error *err);
void dc_tokens_destroy(struct dc_tokens *t);
/* Appends the compact token. */
DC_MUST_USE enum dc_status dc_tokens_sign(struct dc_tokens *t, const struct dc_claims *claims,
                                          struct dc_strbuf *out, struct dc_error *err);
/* DC_UNAUTHORIZED (code unauthorized, or token_expired); *claims lives in the arena. Clock skew of
 * 30 s is allowed for iat, none for exp. */
DC_MUST_USE enum dc_status dc_tokens_verify(struct dc_tokens *t, struct dc_slice token,
                                            struct dc_utc now, struct dc_arena *arena,
                                            struct dc_claims *claims, struct dc_error *err);

#endif
