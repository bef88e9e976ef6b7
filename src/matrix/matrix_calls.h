/* The calls that the city makes, by name: each builds one request for dc_matrix_call().  What comes
 * back is read with matrix_read.h.
 *
 * All of them: see rt/op.h; texts are copied and must be valid UTF-8.  Besides the failures of
 * dc_matrix_call(): DC_INVALID when an id cannot stand in a path (empty, or dots alone). */
#ifndef DC_MATRIX_MATRIX_CALLS_H
#define DC_MATRIX_MATRIX_CALLS_H

#include "matrix/matrix_client.h"

struct dc_matrix_how {
    struct dc_matrix_auth auth;
    uint64_t deadline_ms;
    bool is_impatient; /* 429 is not waited for */
    dc_matrix_cb cb;
    void *data;
    struct dc_op **op; /* NULL allowed */
};

/* --- the server and who we are --- */
/* Needs no token: is there a homeserver? */
DC_MUST_USE enum dc_status dc_matrix_versions(struct dc_matrix *m, const struct dc_matrix_how *how,
                                              struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_whoami(struct dc_matrix *m, const struct dc_matrix_how *how,
                                            struct dc_error *err);
/* Admin interface: DC_OK for administrators, matrix_forbidden for others. */
DC_MUST_USE enum dc_status dc_matrix_admin_check(struct dc_matrix *m,
                                                 const struct dc_matrix_how *how,
                                                 struct dc_slice user_id, struct dc_error *err);

/* --- rooms --- */
struct dc_matrix_room {
    struct dc_slice alias_localpart; /* "city_energy" */
    struct dc_slice name;
    struct dc_slice topic;
    bool is_public;
};
DC_MUST_USE enum dc_status dc_matrix_create_room(struct dc_matrix *m,
                                                 const struct dc_matrix_how *how,
                                                 const struct dc_matrix_room *room,
                                                 struct dc_error *err);
/* Needs no token. */
DC_MUST_USE enum dc_status dc_matrix_resolve_alias(struct dc_matrix *m,
                                                   const struct dc_matrix_how *how,
                                                   struct dc_slice alias, struct dc_error *err);
/* By who made it. */
DC_MUST_USE enum dc_status dc_matrix_delete_alias(struct dc_matrix *m,
                                                  const struct dc_matrix_how *how,
                                                  struct dc_slice alias, struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_leave(struct dc_matrix *m, const struct dc_matrix_how *how,
                                           struct dc_slice room_id, struct dc_error *err);
/* One state event with an empty key; is_event: the whole event instead of its content. */
DC_MUST_USE enum dc_status dc_matrix_room_state(struct dc_matrix *m,
                                                const struct dc_matrix_how *how,
                                                struct dc_slice room_id, struct dc_slice type,
                                                bool is_event, struct dc_error *err);
/* Admin interface: name, topic, creator of any room. */
DC_MUST_USE enum dc_status dc_matrix_admin_room(struct dc_matrix *m,
                                                const struct dc_matrix_how *how,
                                                struct dc_slice room_id, struct dc_error *err);
/* room: an id or an alias.  Joining again is no failure. */
DC_MUST_USE enum dc_status dc_matrix_join(struct dc_matrix *m, const struct dc_matrix_how *how,
                                          struct dc_slice room, struct dc_error *err);
DC_MUST_USE enum dc_status
dc_matrix_joined_rooms(struct dc_matrix *m, const struct dc_matrix_how *how, struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_joined_members(struct dc_matrix *m,
                                                    const struct dc_matrix_how *how,
                                                    struct dc_slice room_id, struct dc_error *err);

/* --- accounts --- */
/* Application service: an account of its namespace, without a password.  matrix_in_use: it exists.
 */
DC_MUST_USE enum dc_status dc_matrix_as_register(struct dc_matrix *m,
                                                 const struct dc_matrix_how *how,
                                                 struct dc_slice localpart, struct dc_error *err);
/* Application service: a new token of a user of its namespace. device_id empty: a new device.
 * By the specification a device that comes back loses the token it had; Synapse leaves it. */
DC_MUST_USE enum dc_status dc_matrix_as_login(struct dc_matrix *m, const struct dc_matrix_how *how,
                                              struct dc_slice user_id, struct dc_slice device_id,
                                              struct dc_error *err);
/* Admin interface.  An account without a password; an existing one stays as it is, and the HTTP
 * status tells: 201 made, 200 was there. */
DC_MUST_USE enum dc_status dc_matrix_admin_put_user(struct dc_matrix *m,
                                                    const struct dc_matrix_how *how,
                                                    struct dc_slice user_id, struct dc_error *err);
/* Admin interface: a new token of a user, which belongs to no device. */
DC_MUST_USE enum dc_status dc_matrix_admin_login(struct dc_matrix *m,
                                                 const struct dc_matrix_how *how,
                                                 struct dc_slice user_id, struct dc_error *err);
/* Shared-secret registration: first a nonce, then the account with its first token. */
DC_MUST_USE enum dc_status
dc_matrix_secret_nonce(struct dc_matrix *m, const struct dc_matrix_how *how, struct dc_error *err);
struct dc_matrix_secret_user {
    struct dc_slice secret, nonce, localpart, password;
    bool is_admin;
};
DC_MUST_USE enum dc_status dc_matrix_secret_register(struct dc_matrix *m,
                                                     const struct dc_matrix_how *how,
                                                     const struct dc_matrix_secret_user *user,
                                                     struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_password_login(struct dc_matrix *m,
                                                    const struct dc_matrix_how *how,
                                                    struct dc_slice localpart,
                                                    struct dc_slice password, struct dc_error *err);
/* Ends the token of how->auth. */
DC_MUST_USE enum dc_status dc_matrix_logout(struct dc_matrix *m, const struct dc_matrix_how *how,
                                            struct dc_error *err);
/* DC_OK or not_found: whether an account has a profile, which every local account has. */
DC_MUST_USE enum dc_status dc_matrix_profile(struct dc_matrix *m, const struct dc_matrix_how *how,
                                             struct dc_slice user_id, struct dc_error *err);
DC_MUST_USE enum dc_status dc_matrix_set_display_name(struct dc_matrix *m,
                                                      const struct dc_matrix_how *how,
                                                      struct dc_slice user_id, struct dc_slice name,
                                                      struct dc_error *err);

/* --- talking --- */
/* m.text by the user of how->auth.  txn_id: the same one again gives the same event, as long as the
 * homeserver remembers (Synapse: for an application service in memory, half an hour).  message_id
 * goes into the content as DC_MATRIX_MESSAGE_ID_KEY (matrix_push.h); ptr NULL: nothing does. */
struct dc_matrix_text {
    struct dc_slice room_id, txn_id, body, message_id;
};
DC_MUST_USE enum dc_status dc_matrix_send_text(struct dc_matrix *m, const struct dc_matrix_how *how,
                                               const struct dc_matrix_text *text,
                                               struct dc_error *err);
/* DC_MATRIX_PULSE_TYPE by the user of how->auth; pulse_id is the transaction's id too. */
DC_MUST_USE enum dc_status dc_matrix_send_pulse(struct dc_matrix *m,
                                                const struct dc_matrix_how *how,
                                                struct dc_slice room_id, struct dc_slice pulse_id,
                                                struct dc_error *err);
/* The newest messages of one sender in a room: "chunk", newest first. */
DC_MUST_USE enum dc_status dc_matrix_said_by(struct dc_matrix *m, const struct dc_matrix_how *how,
                                             struct dc_slice room_id, struct dc_slice sender,
                                             struct dc_error *err);
/* The membership event of a user in a room: its content. */
DC_MUST_USE enum dc_status dc_matrix_member(struct dc_matrix *m, const struct dc_matrix_how *how,
                                            struct dc_slice room_id, struct dc_slice user_id,
                                            struct dc_error *err);
/* Application service: the homeserver calls us at the URL of our registration, and answers whether
 * it could.  When it can it also delivers at once what it has been waiting with. */
DC_MUST_USE enum dc_status dc_matrix_as_ping(struct dc_matrix *m, const struct dc_matrix_how *how,
                                             struct dc_slice service_id, struct dc_error *err);
/* presence: online, unavailable or offline; status_msg.ptr NULL: none, which clears it. */
DC_MUST_USE enum dc_status dc_matrix_set_presence(struct dc_matrix *m,
                                                  const struct dc_matrix_how *how,
                                                  struct dc_slice user_id, struct dc_slice presence,
                                                  struct dc_slice status_msg, struct dc_error *err);
/* Of the caller himself, or of somebody who shares a room with him. */
DC_MUST_USE enum dc_status dc_matrix_get_presence(struct dc_matrix *m,
                                                  const struct dc_matrix_how *how,
                                                  struct dc_slice user_id, struct dc_error *err);
/* A mark that ends by itself after typing_ms; 0 ends it now. */
DC_MUST_USE enum dc_status dc_matrix_set_typing(struct dc_matrix *m,
                                                const struct dc_matrix_how *how,
                                                struct dc_slice room_id, struct dc_slice user_id,
                                                uint64_t typing_ms, struct dc_error *err);

/* --- listening (an ordinary user; application services cannot) --- */
struct dc_matrix_sync_opts {
    struct dc_slice since;  /* empty: from the beginning */
    struct dc_slice filter; /* JSON or a filter's id; empty: none */
    uint64_t timeout_ms;    /* how long the homeserver may hold the call; < how->deadline_ms */
    size_t max_response_bytes;
    bool is_quiet; /* set_presence=offline: listening does not make the listener appear online */
};
DC_MUST_USE enum dc_status dc_matrix_sync(struct dc_matrix *m, const struct dc_matrix_how *how,
                                          const struct dc_matrix_sync_opts *opts,
                                          struct dc_error *err);

#endif
