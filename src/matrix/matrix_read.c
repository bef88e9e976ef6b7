/* Answers of homeservers. */
#include "matrix/matrix_read.h"
#include "base/input.h"
#include "matrix/matrix_error.h"
#include "matrix/matrix_id.h"

#define TOKEN_MAX_BYTES 4096
#define NONCE_MAX_BYTES 1024

/* Printable ASCII without blanks. */
static bool is_word(struct dc_slice text, size_t max_bytes)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.len > 0 && text.len <= max_bytes;
}

enum dc_status dc_matrix_read_room_id(const json_t *json, struct dc_slice *room_id,
                                      struct dc_error *err)
{
    struct dc_slice text = dc_json_text(json, "room_id");
    if (!dc_matrix_room_id_is_valid(text)) {
        return dc_matrix_bad_answer(err, "a room id");
    }
    *room_id = text;
    return DC_OK;
}

enum dc_status dc_matrix_read_event_id(const json_t *json, struct dc_slice *event_id,
                                       struct dc_error *err)
{
    struct dc_slice text = dc_json_text(json, "event_id");
    if (!dc_matrix_event_id_is_valid(text)) {
        return dc_matrix_bad_answer(err, "an event id");
    }
    *event_id = text;
    return DC_OK;
}

enum dc_status dc_matrix_read_user_id(const json_t *json, struct dc_slice server_name,
                                      struct dc_slice *user_id, struct dc_error *err)
{
    struct dc_slice text = dc_json_text(json, "user_id");
    struct dc_slice localpart;
    struct dc_slice server;
    if (!dc_matrix_id_split(text, '@', &localpart, &server)) {
        return dc_matrix_bad_answer(err, "a user id");
    }
    if (!dc_slice_eq(server, server_name)) {
        return dc_fail_code(err, DC_CONFIG, "matrix_misconfigured",
                            "the homeserver is \"%.*s\", but MATRIX_SERVER_NAME is \"%.*s\"",
                            DC_SLICE_ARG(server), DC_SLICE_ARG(server_name));
    }
    *user_id = text;
    return DC_OK;
}

enum dc_status dc_matrix_read_login(const json_t *json, struct dc_slice *token,
                                    struct dc_slice *device_id, struct dc_error *err)
{
    struct dc_slice text = dc_json_text(json, "access_token");
    struct dc_slice device = dc_matrix_read_text(json, "device_id");
    if (!is_word(text, TOKEN_MAX_BYTES)) {
        return dc_matrix_bad_answer(err, "an access token");
    }
    *token = text;
    *device_id = device.len > 0 && device.len <= DC_MATRIX_ID_MAX_BYTES ? device : DC_SLICE_NULL;
    return DC_OK;
}

enum dc_status dc_matrix_read_nonce(const json_t *json, struct dc_slice *nonce,
                                    struct dc_error *err)
{
    struct dc_slice text = dc_json_text(json, "nonce");
    if (!is_word(text, NONCE_MAX_BYTES)) {
        return dc_matrix_bad_answer(err, "a nonce");
    }
    *nonce = text;
    return DC_OK;
}

enum dc_status dc_matrix_read_user(const json_t *json, const char *key_z, struct dc_slice *user_id,
                                   struct dc_error *err)
{
    struct dc_slice localpart;
    struct dc_slice server;
    struct dc_slice text = dc_json_text(json, key_z);
    if (!dc_matrix_id_split(text, '@', &localpart, &server)) {
        return dc_matrix_bad_answer(err, "a user id");
    }
    *user_id = text;
    return DC_OK;
}

struct dc_slice dc_matrix_read_text(const json_t *json, const char *key_z)
{
    struct dc_slice text = dc_json_text(json, key_z);
    return text.ptr != NULL && dc_text_is_valid(text) ? text : DC_SLICE_NULL;
}
