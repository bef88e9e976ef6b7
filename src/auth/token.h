/* Access tokens: JWT, HS256 (RFC 7515/7519) by cjose (CONTRACT §9: sub, name, roles, type=access,
 * iss=daarion-auth, iat, exp; nbf).  type and iss may be missing, but not differ.  Nothing but
 * HS256 is accepted; `none` and other algorithms are refused before any key is touched.  The claims
 * of the last verified tokens are remembered by the SHA-256 of the whole token, so that
 * reconnecting crowds cost cjose's work each only once; exp is looked at every time. */
#ifndef DC_AUTH_TOKEN_H
#define DC_AUTH_TOKEN_H

#include "base/arena.h"
#include "base/status.h"
#include "base/strbuf.h"
#include "base/time.h"

#define DC_TOKEN_MAX_BYTES 4096

/* Ids of users go into subjects, keys and topics, whose lengths are bounded in bytes: the 1..128
 * characters of the rule for ids (base/input.h) must not take more bytes than that. */
#define DC_USER_ID_MAX_BYTES 128
bool dc_user_id_is_valid(struct dc_slice id);

#define DC_TOKEN_NAME_MAX_BYTES 256

struct dc_claims {
    struct dc_slice sub;   /* dc_user_id_is_valid */
    struct dc_slice name;  /* may be empty; a longer one, or no dc_line_is_valid, counts as empty */
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
/* DC_UNAUTHORIZED (code unauthorized, or token_expired), DC_NO_MEMORY; *claims lives in the arena.
 * Clock skew of 30 s is allowed for iat and nbf, none for exp. */
DC_MUST_USE enum dc_status dc_tokens_verify(struct dc_tokens *t, struct dc_slice token,
                                            struct dc_utc now, struct dc_arena *arena,
                                            struct dc_claims *claims, struct dc_error *err);

#endif
