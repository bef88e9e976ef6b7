/* Configuration for Synapse and for the city.  Written for people too: every setting says why it is
 * there. */
#include "matrix/config_files.h"
#include "base/encoding.h"
#include "base/mem.h"
#include "matrix/matrix_id.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES 32

enum { HOMESERVER, APPSERVICE, ENVIRONMENT, FILE_COUNT };
static const char *const names[FILE_COUNT] = {"daarion-homeserver.yaml", "daarion-appservice.yaml",
                                              "matrix-gateway.env"};

struct files {
    struct dc_strbuf paths[FILE_COUNT]; /* absolute: Synapse may be started from anywhere */
    struct dc_strbuf texts[FILE_COUNT];
    struct dc_strbuf as_token, hs_token, registration_secret;
};

static void add_secret(struct dc_strbuf *out, const struct dc_random *random)
{
    uint8_t bytes[SECRET_BYTES];
    dc_random_fill(random, bytes, sizeof(bytes));
    dc_base64url_encode(out, dc_slice_make(bytes, sizeof(bytes)));
    dc_wipe(bytes, sizeof(bytes));
}

/* A server name inside a regular expression inside single-quoted YAML. */
static void add_pattern(struct dc_strbuf *out, struct dc_slice server_name)
{
    for (size_t i = 0; i < server_name.len; i++) {
        char c = server_name.ptr[i];
        if (c == '.' || c == '[' || c == ']') {
            dc_strbuf_add_char(out, '\\');
        }
        dc_strbuf_add_char(out, c);
    }
}

/* Single-quoted YAML. */
static void add_quoted(struct dc_strbuf *out, struct dc_slice text)
{
    dc_strbuf_add_char(out, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'') {
            dc_strbuf_add_char(out, '\'');
        }
        dc_strbuf_add_char(out, text.ptr[i]);
    }
    dc_strbuf_add_char(out, '\'');
}

static void write_homeserver(struct files *f, struct dc_slice server_name)
{
    struct dc_strbuf *out = &f->texts[HOMESERVER];
    dc_strbuf_add(
        out,
        DC_S("# Settings that DAARION City needs of Synapse.  Give this file beside your own:\n"
             "#   synapse_homeserver -c homeserver.yaml -c daarion-homeserver.yaml\n"
             "# A setting that stands in both files counts as it stands here.\n"
             "\n"
             "# The city acts through this registration: rooms without a limit of one a minute,\n"
             "# accounts without passwords.  Add your other registrations to the list.\n"
             "app_service_config_files:\n  - "));
    add_quoted(out, dc_strbuf_slice(&f->paths[APPSERVICE]));
    dc_strbuf_add(
        out, DC_S("\n\n# Lets the city make its administrator's account when no token is given.\n"
                  "registration_shared_secret: "));
    add_quoted(out, dc_strbuf_slice(&f->registration_secret));
    dc_strbuf_add(
        out, DC_S("\n\n# Who is here: the city's rooms live from it.\n"
                  "presence:\n  enabled: true\n"
                  "\n"
                  "# Heartbeats come every 20 to 30 seconds from each open page, and at once\n"
                  "# when somebody leaves; Synapse's default is one in 10 seconds.\n"
                  "rc_presence:\n  per_user:\n    per_second: 1\n    burst_count: 10\n"
                  "\n"
                  "# People talk faster than one message in 5 seconds, which is Synapse's\n"
                  "# default; the city has the same limit for its own rooms.\n"
                  "rc_message:\n  per_second: 10\n  burst_count: 20\n"
                  "\n"
                  "# Public rooms of the city stand in the directory that Matrix clients show;\n"
                  "# Synapse lets nobody publish by default.  Add your own rules to the list.\n"
                  "room_list_publication_rules:\n  - user_id: '@" DC_MATRIX_SENDER_LOCALPART ":"));
    dc_strbuf_add(out, server_name);
    dc_strbuf_add(out, DC_S("'\n    action: allow\n"));
}

static void add_namespace(struct dc_strbuf *out, const char *kind_z, const char *prefix_z,
                          struct dc_slice server_name)
{
    dc_strbuf_printf(out, "  %s:\n    - exclusive: true\n      regex: '%s.*:", kind_z, prefix_z);
    add_pattern(out, server_name);
    dc_strbuf_add(out, DC_S("$'\n"));
}

static void write_appservice(struct files *f, struct dc_slice server_name,
                             struct dc_slice gateway_url)
{
    struct dc_strbuf *out = &f->texts[APPSERVICE];
    dc_strbuf_add(out,
                  DC_S("# DAARION City as an application service of Synapse.\n"
                       "id: " DC_MATRIX_SERVICE_ID "\n"
                       "# Where Synapse reaches matrix-gateway: what is said in city rooms is\n"
                       "# pushed there.  Not presence, which pushing loses and multiplies.\n"
                       "url: "));
    add_quoted(out, gateway_url.len > 0 ? gateway_url : DC_S("http://127.0.0.1:8081"));
    dc_strbuf_add(out, DC_S("\nreceive_ephemeral: false\n"
                            "sender_localpart: " DC_MATRIX_SENDER_LOCALPART "\n"
                            "rate_limited: false\n"
                            "as_token: "));
    add_quoted(out, dc_strbuf_slice(&f->as_token));
    dc_strbuf_add(out, DC_S("\nhs_token: "));
    add_quoted(out, dc_strbuf_slice(&f->hs_token));
    dc_strbuf_add(out, DC_S("\n# Nobody else can take the names of residents and of city rooms.\n"
                            "namespaces:\n"));
    add_namespace(out, "users", "@daarion\\.", server_name);
    add_namespace(out, "aliases", "#" DC_MATRIX_ALIAS_PREFIX, server_name);
    dc_strbuf_add(out, DC_S("  rooms: []\n"));
}

static void write_environment(struct files *f, const struct dc_matrix_config *config)
{
    struct dc_strbuf *out = &f->texts[ENVIRONMENT];
    dc_strbuf_add(out, DC_S("# For the role matrix-gateway of daarion, and for no other process.\n"
                            "SYNAPSE_URL="));
    dc_strbuf_add(out, config->synapse_url.len > 0 ? config->synapse_url
                                                   : DC_S("http://127.0.0.1:8008"));
    dc_strbuf_add(out, DC_S("\nMATRIX_SERVER_NAME="));
    dc_strbuf_add(out, config->server_name);
    dc_strbuf_add(out, DC_S("\nMATRIX_AS_TOKEN="));
    dc_strbuf_add(out, dc_strbuf_slice(&f->as_token));
    dc_strbuf_add(out, DC_S("\nMATRIX_HS_TOKEN="));
    dc_strbuf_add(out, dc_strbuf_slice(&f->hs_token));
    dc_strbuf_add(out, DC_S("\nSYNAPSE_REGISTRATION_SECRET="));
    dc_strbuf_add(out, dc_strbuf_slice(&f->registration_secret));
    dc_strbuf_add_char(out, '\n');
}

static enum dc_status find_paths(struct files *f, const char *dir_z, struct dc_error *err)
{
    char dir[PATH_MAX];
    if (mkdir(dir_z, 0700) != 0 && errno != EEXIST) {
        return dc_fail(err, DC_CONFIG, errno, "cannot make \"%s\": %s", dir_z,
                       dc_errno_text(errno));
    }
    if (realpath(dir_z, dir) == NULL) {
        return dc_fail(err, DC_CONFIG, errno, "cannot open \"%s\": %s", dir_z,
                       dc_errno_text(errno));
    }
    for (size_t i = 0; i < FILE_COUNT; i++) {
        dc_strbuf_printf(&f->paths[i], "%s/%s", dir, names[i]);
    }
    return DC_OK;
}

/* The file's path as text that ends in NUL, which does not count. */
static const char *path_z(struct dc_strbuf *path)
{
    dc_strbuf_add_char(path, '\0');
    path->len--;
    return path->ptr;
}

static enum dc_status put(const char *file_z, struct dc_slice text, struct dc_error *err)
{
    int fd = open(file_z, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST) {
        return dc_fail(err, DC_CONFLICT, errno,
                       "\"%s\" is there already: give another directory, or remove it", file_z);
    }
    if (fd < 0) {
        return dc_fail(err, DC_CONFIG, errno, "cannot write \"%s\": %s", file_z,
                       dc_errno_text(errno));
    }
    ssize_t n = write(fd, text.ptr, text.len);
    int cause = n < 0 ? errno : n != (ssize_t)text.len ? ENOSPC : 0;
    if (cause == 0 && fsync(fd) != 0) {
        cause = errno;
    }
    if (close(fd) != 0 && cause == 0) {
        cause = errno;
    }
    if (cause != 0) {
        (void)unlink(file_z); /* half a file helps nobody; the first failure is what counts */
        return dc_fail(err, DC_CONFIG, cause, "cannot write \"%s\": %s", file_z,
                       dc_errno_text(cause));
    }
    return DC_OK;
}

static void wipe(struct dc_strbuf *b)
{
    if (b->ptr != NULL) {
        dc_wipe(b->ptr, b->cap);
    }
    dc_strbuf_free(b);
}

enum dc_status dc_matrix_config_write(const struct dc_matrix_config *config,
                                      struct dc_strbuf *report, struct dc_error *err)
{
    struct files f = {0};
    size_t written = 0;
    enum dc_status st = find_paths(&f, config->dir_z, err);
    if (st == DC_OK) {
        add_secret(&f.as_token, config->random);
        add_secret(&f.hs_token, config->random);
        add_secret(&f.registration_secret, config->random);
        write_homeserver(&f, config->server_name);
        write_appservice(&f, config->server_name, config->gateway_url);
        write_environment(&f, config);
    }
    for (size_t i = 0; st == DC_OK && i < FILE_COUNT; i++) {
        const char *file_z = path_z(&f.paths[i]);
        st = dc_strbuf_ok(&f.texts[i]) && dc_strbuf_ok(&f.paths[i])
                 ? put(file_z, dc_strbuf_slice(&f.texts[i]), err)
                 : dc_fail(err, DC_NO_MEMORY, 0, "%s", dc_status_text(DC_NO_MEMORY));
        written += st == DC_OK;
    }
    while (st != DC_OK && written > 0) {
        (void)unlink(f.paths[--written].ptr);
    }
    for (size_t i = 0; i < FILE_COUNT; i++) {
        if (st == DC_OK) {
            dc_strbuf_add(report, dc_strbuf_slice(&f.paths[i]));
            dc_strbuf_add_char(report, '\n');
        }
        dc_strbuf_free(&f.paths[i]);
        wipe(&f.texts[i]);
    }
    wipe(&f.as_token);
    wipe(&f.hs_token);
    wipe(&f.registration_secret);
    return st;
}
