/* daarion-presence.yaml.  Written for people too: every setting says why it is there. */
#include "matrix/presence_file.h"

#include "base/mem.h"
#include "matrix/matrix_id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PEOPLE_FOR_ROUTER 1000
#define PEOPLE_FOR_ROOMS  10000
#define PEOPLE_FOR_TIMERS 100000

bool dc_matrix_presence_wants_rooms(int64_t people)
{
    return people >= PEOPLE_FOR_ROOMS;
}

/* Single-quoted YAML; ids have neither blanks nor control characters. */
static void add_quoted(struct dc_strbuf *out, struct dc_slice id)
{
    dc_strbuf_add_char(out, '\'');
    for (size_t i = 0; i < id.len; i++) {
        if (id.ptr[i] == '\'') {
            dc_strbuf_add_char(out, '\'');
        }
        dc_strbuf_add_char(out, id.ptr[i]);
    }
    dc_strbuf_add_char(out, '\'');
}

static void write_router(const struct dc_matrix_presence_config *config, struct dc_strbuf *out)
{
    dc_strbuf_add(out, DC_S("\n# The presence daemon hears of everybody, once for each change. The "
                            "module is\n"
                            "# daarion_presence.py (deploy/synapse); its directory must be in "
                            "PYTHONPATH of\n"
                            "# every Synapse process. Add your other modules to the list.\n"
                            "modules:\n"
                            "  - module: daarion_presence.DaarionPresence\n"
                            "    config:\n"
                            "      observers:\n"
                            "        - "));
    add_quoted(out, config->observer);
    dc_strbuf_add_char(out, '\n');
}

static void write_rooms(const struct dc_matrix_presence_config *config, struct dc_strbuf *out)
{
    dc_strbuf_add(
        out,
        DC_S(
            "\n# Rooms of the city: their members do not see each other's presence by Matrix, "
            "as\n"
            "# everybody would be told of everybody. In other rooms they do. Patterns and aliases\n"
            "# mean nothing here.\n"));
    if (config->n_room_ids == 0) {
        dc_strbuf_add(out, DC_S("# The city has no Matrix rooms yet.\n"
                                "exclude_rooms_from_presence: []\n"));
        return;
    }
    dc_strbuf_add(out, DC_S("exclude_rooms_from_presence:\n"));
    for (size_t i = 0; i < config->n_room_ids; i++) {
        dc_strbuf_add(out, DC_S("  - "));
        add_quoted(out, config->room_ids[i]);
        dc_strbuf_add_char(out, '\n');
    }
}

enum dc_status dc_matrix_presence_text(const struct dc_matrix_presence_config *config,
                                       struct dc_strbuf *out, struct dc_error *err)
{
    struct dc_slice localpart;
    struct dc_slice server;
    if (!dc_matrix_id_split(config->observer, '@', &localpart, &server)) {
        return dc_fail(err, DC_INVALID, 0,
                       "the observer is not a user id such as @presence_daemon:example.org");
    }
    for (size_t i = 0; i < config->n_room_ids; i++) {
        if (!dc_matrix_room_id_is_valid(config->room_ids[i])) {
            return dc_fail(err, DC_INVALID, 0, "the city has a room with an id that is none");
        }
    }
    dc_strbuf_printf(out,
                     "# Presence of a city of %lld people. Give this file too:\n"
                     "#   synapse_homeserver -c homeserver.yaml -c daarion-homeserver.yaml"
                     " -c " DC_MATRIX_PRESENCE_FILE "\n"
                     "# Made by `daarion matrix-config --size=%lld`: make it anew when there are "
                     "new rooms, and\n"
                     "# let Synapse read it with its next restart. Being late costs time, nothing "
                     "else.\n",
                     (long long)config->people, (long long)config->people);
    if (config->people < PEOPLE_FOR_ROUTER) {
        dc_strbuf_add(out, DC_S("\n# So few people need nothing beyond Synapse's own presence.\n"));
    } else {
        write_router(config, out);
    }
    if (dc_matrix_presence_wants_rooms(config->people)) {
        write_rooms(config, out);
    }
    if (config->people >= PEOPLE_FOR_TIMERS) {
        dc_strbuf_add(
            out, DC_S("\n# Fewer repetitions of what is known. One Synapse process takes about 200 "
                      "changes a\n"
                      "# second: test the load first, and give presence a worker of its own\n"
                      "# (stream_writers).\n"
                      "presence:\n"
                      "  enabled: true\n"
                      "  last_active_granularity: 5m\n"
                      "  idle_timeout: 10m\n"));
    }
    return dc_strbuf_ok(out) ? DC_OK
                             : dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
}

/* --- the file --- */

static enum dc_status fail_path(const char *path_z, int cause, struct dc_error *err)
{
    return dc_fail(err, DC_CONFIG, cause, "cannot write \"%s\": %s", path_z, dc_errno_text(cause));
}

static enum dc_status put(const char *path_z, struct dc_slice text, struct dc_error *err)
{
    int fd = open(path_z, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return fail_path(path_z, errno, err);
    }
    int cause = 0;
    while (cause == 0 && text.len > 0) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0) {
            cause = errno;
        } else {
            text = dc_slice_make(text.ptr + n, text.len - (size_t)n);
        }
    }
    if (cause == 0 && fsync(fd) != 0) {
        cause = errno;
    }
    if (close(fd) != 0 && cause == 0) {
        cause = errno;
    }
    return cause == 0 ? DC_OK : fail_path(path_z, cause, err);
}

enum dc_status dc_matrix_presence_write(const char *dir_z, struct dc_slice text,
                                        struct dc_strbuf *path, struct dc_error *err)
{
    struct dc_strbuf final = {0};
    struct dc_strbuf fresh = {0};
    dc_strbuf_printf(&final, "%s/" DC_MATRIX_PRESENCE_FILE, dir_z);
    dc_strbuf_add(&fresh, dc_strbuf_slice(&final));
    dc_strbuf_add(&fresh, DC_S(".new"));
    dc_strbuf_add_char(&final, '\0');
    dc_strbuf_add_char(&fresh, '\0');
    enum dc_status st = dc_strbuf_ok(&final) && dc_strbuf_ok(&fresh)
                            ? put(fresh.ptr, text, err)
                            : dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
    if (st == DC_OK && rename(fresh.ptr, final.ptr) != 0) {
        st = fail_path(final.ptr, errno, err);
    }
    if (st == DC_OK) {
        dc_strbuf_add_z(path, final.ptr);
    } else if (dc_strbuf_ok(&fresh)) {
        (void)unlink(fresh.ptr); /* the earlier file, if there is one, is as it was */
    }
    dc_strbuf_free(&fresh);
    dc_strbuf_free(&final);
    return st;
}
