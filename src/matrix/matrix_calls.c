/* Requests by name. */
#include "matrix/matrix_calls.h"
#include "base/encoding.h"
#include "base/mem.h"
#include "matrix/matrix_path.h"
#include "matrix/matrix_push.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#define CLIENT "/_matrix/client/v3"
#define ADMIN1 "/_synapse/admin/v1"
#define ADMIN2 "/_synapse/admin/v2"

#define SHA1_BYTES 20
/* Who looks for a message of his looks among these; each has 64 KiB at most, three times that as
 * ASCII. */
#define SAID_LIMIT     "20"
#define SAID_MAX_BYTES ((size_t)8 * 1024 * 1024)
/* Everybody in a room of a large city, at some hundred bytes each. */
#define LIST_MAX_BYTES ((size_t)256 * 1024 * 1024)

struct draft {
    struct dc_matrix_request request;
    struct dc_strbuf path, body;
    struct dc_jsonw w;
    bool is_path_bad;
};

static void begin(struct draft *d, const char *name, const char *method, const char *pattern,
                  const struct dc_slice *parts, size_t n)
{
    *d = (struct draft){.request = {.name = name, .method = method}};
    d->is_path_bad = !dc_matrix_path(&d->path, pattern, parts, n);
}

static void begin_body(struct draft *d)
{
    dc_jsonw_init(&d->w, &d->body);
    dc_jsonw_object(&d->w);
}

/* Frees the draft. */
static enum dc_status make(struct draft *d, struct dc_matrix *m, const struct dc_matrix_how *how,
                           struct dc_error *err)
{
    enum dc_status st;
    if (d->body.len > 0) {
        dc_jsonw_end(&d->w);
    }
    d->request.path = dc_strbuf_slice(&d->path);
    d->request.body = dc_strbuf_slice(&d->body);
    d->request.auth = how->auth;
    d->request.deadline_ms = how->deadline_ms;
    d->request.is_impatient = how->is_impatient;
    if (d->is_path_bad) {
        st = dc_fail(err, DC_INVALID, 0, "%s: an id cannot stand in a path", d->request.name);
    } else if (!dc_strbuf_ok(&d->path) || !dc_strbuf_ok(&d->body)) {
        st = dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    } else {
        st = dc_matrix_call(m, &d->request, how->cb, how->data, how->op, err);
    }
    if (d->body.ptr != NULL) {
        dc_wipe(d->body.ptr, d->body.cap); /* may hold a password */
    }
    dc_strbuf_free(&d->path);
    dc_strbuf_free(&d->body);
    return st;
}

/* A call without a body of its own. */
static enum dc_status plain(struct dc_matrix *m, const struct dc_matrix_how *how, const char *name,
                            const char *method, const char *pattern, const struct dc_slice *parts,
                            size_t n, struct dc_error *err)
{
    struct draft d;
    begin(&d, name, method, pattern, parts, n);
    return make(&d, m, how, err);
}

/* --- the server and who we are --- */

enum dc_status dc_matrix_versions(struct dc_matrix *m, const struct dc_matrix_how *how,
                                  struct dc_error *err)
{
    return plain(m, how, "versions", "GET", "/_matrix/client/versions", NULL, 0, err);
}

enum dc_status dc_matrix_whoami(struct dc_matrix *m, const struct dc_matrix_how *how,
                                struct dc_error *err)
{
    return plain(m, how, "whoami", "GET", CLIENT "/account/whoami", NULL, 0, err);
}

enum dc_status dc_matrix_admin_check(struct dc_matrix *m, const struct dc_matrix_how *how,
                                     struct dc_slice user_id, struct dc_error *err)
{
    return plain(m, how, "adminCheck", "GET", ADMIN1 "/users/{}/admin", &user_id, 1, err);
}

/* --- rooms --- */

static void add_initial_state(struct dc_jsonw *w, const char *type_z, const char *key_z,
                              const char *value_z)
{
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "type", dc_slice_z(type_z));
    dc_jsonw_key_text(w, "state_key", DC_S(""));
    dc_jsonw_key(w, "content");
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, key_z, dc_slice_z(value_z));
    dc_jsonw_end(w);
    dc_jsonw_end(w);
}

enum dc_status dc_matrix_create_room(struct dc_matrix *m, const struct dc_matrix_how *how,
                                     const struct dc_matrix_room *room, struct dc_error *err)
{
    struct draft d;
    struct dc_jsonw *w = &d.w;
    begin(&d, "createRoom", "POST", CLIENT "/createRoom", NULL, 0);
    d.request.limit_hint = "rooms are made by an ordinary account (rc_room_creation): register the "
                           "application service and set MATRIX_AS_TOKEN";
    begin_body(&d);
    dc_jsonw_key_text(w, "name", room->name);
    dc_jsonw_key_text(w, "room_alias_name", room->alias_localpart);
    dc_jsonw_key_text(w, "topic", room->topic);
    dc_jsonw_key_text(w, "preset", room->is_public ? DC_S("public_chat") : DC_S("private_chat"));
    dc_jsonw_key_text(w, "visibility", room->is_public ? DC_S("public") : DC_S("private"));
    dc_jsonw_key(w, "creation_content");
    dc_jsonw_object(w);
    dc_jsonw_key_bool(w, "m.federate", false);
    dc_jsonw_end(w);
    dc_jsonw_key(w, "initial_state");
    dc_jsonw_array(w);
    add_initial_state(w, "m.room.history_visibility", "history_visibility", "shared");
    add_initial_state(w, "m.room.guest_access", "guest_access", "can_join");
    dc_jsonw_end(w);
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_resolve_alias(struct dc_matrix *m, const struct dc_matrix_how *how,
                                       struct dc_slice alias, struct dc_error *err)
{
    return plain(m, how, "resolveAlias", "GET", CLIENT "/directory/room/{}", &alias, 1, err);
}

enum dc_status dc_matrix_delete_alias(struct dc_matrix *m, const struct dc_matrix_how *how,
                                      struct dc_slice alias, struct dc_error *err)
{
    return plain(m, how, "deleteAlias", "DELETE", CLIENT "/directory/room/{}", &alias, 1, err);
}

enum dc_status dc_matrix_leave(struct dc_matrix *m, const struct dc_matrix_how *how,
                               struct dc_slice room_id, struct dc_error *err)
{
    return plain(m, how, "leave", "POST", CLIENT "/rooms/{}/leave", &room_id, 1, err);
}

enum dc_status dc_matrix_room_state(struct dc_matrix *m, const struct dc_matrix_how *how,
                                    struct dc_slice room_id, struct dc_slice type, bool is_event,
                                    struct dc_error *err)
{
    struct draft d;
    const struct dc_slice parts[] = {room_id, type};
    begin(&d, "roomState", "GET", CLIENT "/rooms/{}/state/{}/", parts, 2);
    if (is_event) {
        dc_matrix_query(&d.path, "format", DC_S("event"));
    }
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_admin_room(struct dc_matrix *m, const struct dc_matrix_how *how,
                                    struct dc_slice room_id, struct dc_error *err)
{
    return plain(m, how, "adminRoom", "GET", ADMIN1 "/rooms/{}", &room_id, 1, err);
}

enum dc_status dc_matrix_join(struct dc_matrix *m, const struct dc_matrix_how *how,
                              struct dc_slice room, struct dc_error *err)
{
    return plain(m, how, "join", "POST", CLIENT "/join/{}", &room, 1, err);
}

enum dc_status dc_matrix_joined_rooms(struct dc_matrix *m, const struct dc_matrix_how *how,
                                      struct dc_error *err)
{
    struct draft d;
    begin(&d, "joinedRooms", "GET", CLIENT "/joined_rooms", NULL, 0);
    d.request.max_response_bytes = LIST_MAX_BYTES;
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_joined_members(struct dc_matrix *m, const struct dc_matrix_how *how,
                                        struct dc_slice room_id, struct dc_error *err)
{
    struct draft d;
    begin(&d, "joinedMembers", "GET", CLIENT "/rooms/{}/joined_members", &room_id, 1);
    d.request.max_response_bytes = LIST_MAX_BYTES;
    return make(&d, m, how, err);
}

/* --- accounts --- */

enum dc_status dc_matrix_as_register(struct dc_matrix *m, const struct dc_matrix_how *how,
                                     struct dc_slice localpart, struct dc_error *err)
{
    struct draft d;
    begin(&d, "register", "POST", CLIENT "/register", NULL, 0);
    begin_body(&d);
    dc_jsonw_key_text(&d.w, "type", DC_S("m.login.application_service"));
    dc_jsonw_key_text(&d.w, "username", localpart);
    dc_jsonw_key_bool(&d.w, "inhibit_login", true);
    return make(&d, m, how, err);
}

static void write_login(struct dc_jsonw *w, struct dc_slice type, struct dc_slice user)
{
    dc_jsonw_key_text(w, "type", type);
    dc_jsonw_key(w, "identifier");
    dc_jsonw_object(w);
    dc_jsonw_key_text(w, "type", DC_S("m.id.user"));
    dc_jsonw_key_text(w, "user", user);
    dc_jsonw_end(w);
    dc_jsonw_key_text(w, "initial_device_display_name", DC_S("DAARION City"));
}

enum dc_status dc_matrix_as_login(struct dc_matrix *m, const struct dc_matrix_how *how,
                                  struct dc_slice user_id, struct dc_slice device_id,
                                  struct dc_error *err)
{
    struct draft d;
    begin(&d, "login", "POST", CLIENT "/login", NULL, 0);
    begin_body(&d);
    write_login(&d.w, DC_S("m.login.application_service"), user_id);
    if (device_id.len > 0) {
        dc_jsonw_key_text(&d.w, "device_id", device_id);
    }
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_admin_put_user(struct dc_matrix *m, const struct dc_matrix_how *how,
                                        struct dc_slice user_id, struct dc_error *err)
{
    return plain(m, how, "adminPutUser", "PUT", ADMIN2 "/users/{}", &user_id, 1, err);
}

enum dc_status dc_matrix_admin_login(struct dc_matrix *m, const struct dc_matrix_how *how,
                                     struct dc_slice user_id, struct dc_error *err)
{
    return plain(m, how, "adminLogin", "POST", ADMIN1 "/users/{}/login", &user_id, 1, err);
}

enum dc_status dc_matrix_secret_nonce(struct dc_matrix *m, const struct dc_matrix_how *how,
                                      struct dc_error *err)
{
    return plain(m, how, "registerNonce", "GET", ADMIN1 "/register", NULL, 0, err);
}

/* HMAC-SHA1 of nonce, name, password and "admin", NUL between them: Synapse's own choice. */
static void write_mac(struct dc_jsonw *w, const struct dc_matrix_secret_user *user)
{
    struct dc_strbuf text = {0};
    struct dc_strbuf hex = {0};
    uint8_t mac[SHA1_BYTES];
    unsigned mac_len = 0;
    dc_strbuf_add(&text, user->nonce);
    dc_strbuf_add_char(&text, '\0');
    dc_strbuf_add(&text, user->localpart);
    dc_strbuf_add_char(&text, '\0');
    dc_strbuf_add(&text, user->password);
    dc_strbuf_add_char(&text, '\0');
    dc_strbuf_add(&text, user->is_admin ? DC_S("admin") : DC_S("notadmin"));
    if (dc_strbuf_ok(&text) && HMAC(EVP_sha1(), user->secret.ptr, (int)user->secret.len,
                                    (const uint8_t *)text.ptr, text.len, mac, &mac_len) != NULL) {
        dc_hex_encode(&hex, dc_slice_make(mac, mac_len));
    }
    dc_jsonw_key_text(w, "mac", hex.len > 0 ? dc_strbuf_slice(&hex) : DC_S(""));
    if (text.ptr != NULL) {
        dc_wipe(text.ptr, text.cap);
    }
    dc_strbuf_free(&text);
    dc_strbuf_free(&hex);
}

enum dc_status dc_matrix_secret_register(struct dc_matrix *m, const struct dc_matrix_how *how,
                                         const struct dc_matrix_secret_user *user,
                                         struct dc_error *err)
{
    struct draft d;
    begin(&d, "secretRegister", "POST", ADMIN1 "/register", NULL, 0);
    begin_body(&d);
    dc_jsonw_key_text(&d.w, "nonce", user->nonce);
    dc_jsonw_key_text(&d.w, "username", user->localpart);
    dc_jsonw_key_text(&d.w, "password", user->password);
    dc_jsonw_key_bool(&d.w, "admin", user->is_admin);
    write_mac(&d.w, user);
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_password_login(struct dc_matrix *m, const struct dc_matrix_how *how,
                                        struct dc_slice localpart, struct dc_slice password,
                                        struct dc_error *err)
{
    struct draft d;
    begin(&d, "login", "POST", CLIENT "/login", NULL, 0);
    begin_body(&d);
    write_login(&d.w, DC_S("m.login.password"), localpart);
    dc_jsonw_key_text(&d.w, "password", password);
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_logout(struct dc_matrix *m, const struct dc_matrix_how *how,
                                struct dc_error *err)
{
    return plain(m, how, "logout", "POST", CLIENT "/logout", NULL, 0, err);
}

enum dc_status dc_matrix_profile(struct dc_matrix *m, const struct dc_matrix_how *how,
                                 struct dc_slice user_id, struct dc_error *err)
{
    return plain(m, how, "profile", "GET", CLIENT "/profile/{}", &user_id, 1, err);
}

enum dc_status dc_matrix_set_display_name(struct dc_matrix *m, const struct dc_matrix_how *how,
                                          struct dc_slice user_id, struct dc_slice name,
                                          struct dc_error *err)
{
    struct draft d;
    begin(&d, "setDisplayName", "PUT", CLIENT "/profile/{}/displayname", &user_id, 1);
    begin_body(&d);
    dc_jsonw_key_text(&d.w, "displayname", name);
    return make(&d, m, how, err);
}

/* --- talking --- */

enum dc_status dc_matrix_send_text(struct dc_matrix *m, const struct dc_matrix_how *how,
                                   const struct dc_matrix_text *text, struct dc_error *err)
{
    struct draft d;
    const struct dc_slice parts[] = {text->room_id, text->txn_id};
    begin(&d, "send", "PUT", CLIENT "/rooms/{}/send/m.room.message/{}", parts, 2);
    begin_body(&d);
    dc_jsonw_key_text(&d.w, "msgtype", DC_S("m.text"));
    dc_jsonw_key_text(&d.w, "body", text->body);
    if (text->message_id.ptr != NULL) {
        dc_jsonw_key_text(&d.w, DC_MATRIX_MESSAGE_ID_KEY, text->message_id);
    }
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_send_pulse(struct dc_matrix *m, const struct dc_matrix_how *how,
                                    struct dc_slice room_id, struct dc_slice pulse_id,
                                    struct dc_error *err)
{
    struct draft d;
    const struct dc_slice parts[] = {room_id, pulse_id};
    begin(&d, "sendPulse", "PUT", CLIENT "/rooms/{}/send/" DC_MATRIX_PULSE_TYPE "/{}", parts, 2);
    begin_body(&d);
    dc_jsonw_key_text(&d.w, DC_MATRIX_PULSE_ID_KEY, pulse_id);
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_said_by(struct dc_matrix *m, const struct dc_matrix_how *how,
                                 struct dc_slice room_id, struct dc_slice sender,
                                 struct dc_error *err)
{
    struct draft d;
    struct dc_strbuf filter = {0};
    struct dc_jsonw w;
    dc_jsonw_init(&w, &filter);
    dc_jsonw_object(&w);
    dc_jsonw_key(&w, "types");
    dc_jsonw_array(&w);
    dc_jsonw_text(&w, DC_S("m.room.message"));
    dc_jsonw_end(&w);
    dc_jsonw_key(&w, "senders");
    dc_jsonw_array(&w);
    dc_jsonw_text(&w, sender);
    dc_jsonw_end(&w);
    dc_jsonw_end(&w);
    begin(&d, "messages", "GET", CLIENT "/rooms/{}/messages", &room_id, 1);
    d.request.max_response_bytes = SAID_MAX_BYTES;
    dc_matrix_query(&d.path, "dir", DC_S("b"));
    dc_matrix_query(&d.path, "limit", DC_S(SAID_LIMIT));
    dc_matrix_query(&d.path, "filter", dc_strbuf_slice(&filter));
    d.path.failed = d.path.failed || !dc_strbuf_ok(&filter);
    dc_strbuf_free(&filter);
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_member(struct dc_matrix *m, const struct dc_matrix_how *how,
                                struct dc_slice room_id, struct dc_slice user_id,
                                struct dc_error *err)
{
    const struct dc_slice parts[] = {room_id, user_id};
    return plain(m, how, "member", "GET", CLIENT "/rooms/{}/state/m.room.member/{}", parts, 2, err);
}

enum dc_status dc_matrix_as_ping(struct dc_matrix *m, const struct dc_matrix_how *how,
                                 struct dc_slice service_id, struct dc_error *err)
{
    return plain(m, how, "ping", "POST", "/_matrix/client/v1/appservice/{}/ping", &service_id, 1,
                 err);
}

enum dc_status dc_matrix_set_presence(struct dc_matrix *m, const struct dc_matrix_how *how,
                                      struct dc_slice user_id, struct dc_slice presence,
                                      struct dc_slice status_msg, struct dc_error *err)
{
    struct draft d;
    begin(&d, "setPresence", "PUT", CLIENT "/presence/{}/status", &user_id, 1);
    d.request.limit_hint = "the homeserver takes a user's presence once in so many seconds "
                           "(rc_presence)";
    begin_body(&d);
    dc_jsonw_key_text(&d.w, "presence", presence);
    if (status_msg.ptr != NULL) {
        dc_jsonw_key_text(&d.w, "status_msg", status_msg);
    }
    return make(&d, m, how, err);
}

enum dc_status dc_matrix_get_presence(struct dc_matrix *m, const struct dc_matrix_how *how,
                                      struct dc_slice user_id, struct dc_error *err)
{
    return plain(m, how, "getPresence", "GET", CLIENT "/presence/{}/status", &user_id, 1, err);
}

enum dc_status dc_matrix_set_typing(struct dc_matrix *m, const struct dc_matrix_how *how,
                                    struct dc_slice room_id, struct dc_slice user_id,
                                    uint64_t typing_ms, struct dc_error *err)
{
    struct draft d;
    const struct dc_slice parts[] = {room_id, user_id};
    begin(&d, "setTyping", "PUT", CLIENT "/rooms/{}/typing/{}", parts, 2);
    begin_body(&d);
    dc_jsonw_key_bool(&d.w, "typing", typing_ms > 0);
    if (typing_ms > 0) {
        dc_jsonw_key_i64(&d.w, "timeout", (int64_t)typing_ms);
    }
    return make(&d, m, how, err);
}

/* --- listening --- */

enum dc_status dc_matrix_sync(struct dc_matrix *m, const struct dc_matrix_how *how,
                              const struct dc_matrix_sync_opts *opts, struct dc_error *err)
{
    struct draft d;
    char timeout[24];
    int n = snprintf(timeout, sizeof(timeout), "%llu", (unsigned long long)opts->timeout_ms);
    DC_ASSERT(n > 0 && (size_t)n < sizeof(timeout));
    begin(&d, "sync", "GET", CLIENT "/sync", NULL, 0);
    d.request.max_response_bytes = opts->max_response_bytes;
    dc_matrix_query(&d.path, "timeout", dc_slice_make(timeout, (size_t)n));
    if (opts->since.len > 0) {
        dc_matrix_query(&d.path, "since", opts->since);
    }
    if (opts->filter.len > 0) {
        dc_matrix_query(&d.path, "filter", opts->filter);
    }
    if (opts->is_quiet) {
        dc_matrix_query(&d.path, "set_presence", DC_S("offline"));
    }
    return make(&d, m, how, err);
}
