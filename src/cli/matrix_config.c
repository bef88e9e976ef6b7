/* `daarion matrix-config`: files for Synapse and for the city (matrix/config_files.h,
 * matrix/presence_file.h). */
#include "base/mem.h"
#include "cli/cli.h"
#include "matrix/config_files.h"
#include "matrix/presence_file.h"

#include <errno.h>
#include <stdio.h>

/* --- daarion-presence.yaml --- */

/* Rooms come from the city as it is now; one that has just been given its secrets has none. */
static enum dc_status write_presence(struct dc_conf *conf, const char *dir_z, int64_t people,
                                     bool is_new, struct dc_strbuf *report, struct dc_error *err)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    struct dc_cli_rooms rooms = {0};
    struct dc_strbuf observer = {0};
    struct dc_strbuf text = {0};
    enum dc_status st = DC_OK;
    if (dc_matrix_presence_wants_rooms(people) && !is_new) {
        st = dc_cli_fetch_rooms(conf, &rooms, err);
    }
    dc_strbuf_printf(&observer, "@" DC_MATRIX_PRESENCE_LOCALPART ":%s", s->matrix_server_name);
    if (st == DC_OK && !dc_strbuf_ok(&observer)) {
        st = dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    }
    if (st == DC_OK) {
        const struct dc_matrix_presence_config config = {.people = people,
                                                         .observer = dc_strbuf_slice(&observer),
                                                         .room_ids = rooms.ids,
                                                         .n_room_ids = rooms.n};
        st = dc_matrix_presence_text(&config, &text, err);
    }
    if (st == DC_OK) {
        st = dc_matrix_presence_write(dir_z, dc_strbuf_slice(&text), report, err);
        dc_strbuf_add_char(report, '\n');
    }
    dc_cli_rooms_free(&rooms);
    dc_strbuf_free(&observer);
    dc_strbuf_free(&text);
    return st;
}

/* --- all of it --- */

static enum dc_status write_all(struct dc_conf *conf, const char *dir_z, int64_t people,
                                struct dc_strbuf *report, struct dc_error *err)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    const struct dc_matrix_config config = {.dir_z = dir_z,
                                            .server_name = dc_slice_z(s->matrix_server_name),
                                            .synapse_url = dc_slice_z(s->synapse_url),
                                            .gateway_url = dc_slice_z(s->matrix_gateway_url)};
    enum dc_status st = dc_matrix_config_write(&config, report, err);
    bool is_new = st == DC_OK;
    if (people > 0 && (is_new || st == DC_CONFLICT)) { /* its secrets stay as they are */
        st = write_presence(conf, dir_z, people, is_new, report, err);
    }
    return st;
}

int dc_cli_matrix_config(struct dc_conf *conf, const char *dir_z, const char *size_z)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    struct dc_strbuf dir = {0};
    struct dc_strbuf report = {0};
    struct dc_error err = {0};
    enum dc_status st = DC_OK;
    int64_t people = 0;
    if (s->matrix_server_name == NULL) {
        (void)fputs("daarion: matrix-config needs --matrix-server-name=NAME, the server_name of "
                    "homeserver.yaml\n",
                    stderr);
        return DC_EXIT_USAGE;
    }
    if (size_z != NULL && (!dc_slice_to_i64(dc_slice_z(size_z), &people) || people < 1)) {
        (void)fputs("daarion: --size is a number of people, such as 10000\n", stderr);
        return DC_EXIT_USAGE;
    }
    if (dir_z == NULL) {
        st = dc_cli_ensure_data_dir(s, &err);
        dc_strbuf_add_z(&dir, s->data_dir);
        dc_strbuf_add(&dir, DC_S("/matrix"));
    } else {
        dc_strbuf_add_z(&dir, dir_z);
    }
    dc_strbuf_add_char(&dir, '\0');
    DC_ASSERT(dc_strbuf_ok(&dir)); /* small, at start */
    if (st == DC_OK) {
        st = write_all(conf, dir.ptr, people, &report, &err);
    }
    if (st == DC_OK &&
        (printf("%.*s", DC_SLICE_ARG(dc_strbuf_slice(&report))) < 0 || fflush(stdout) != 0)) {
        st = dc_fail(&err, DC_INTERNAL, errno, "cannot print: %s", dc_errno_text(errno));
    }
    if (st != DC_OK) {
        dc_cli_complain(&err);
    }
    dc_strbuf_free(&dir);
    dc_strbuf_free(&report);
    return st == DC_OK ? DC_EXIT_OK : st == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED;
}
