/* The short commands: migrate, token, healthcheck. */
#include "base/input.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "db/migrate.h"
#include "net/http_client.h"

#include <errno.h>
#include <stdio.h>

#define HEALTHCHECK_MS 3000
#define TOKEN_TTL_MAX  (INT64_C(1000) * 3600 * 24 * 365 * 10)

int dc_cli_migrate(const struct dc_cli *cli, struct dc_conf *conf, bool check_only)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    struct dc_error err = {0};
    struct dc_strbuf path = {0};
    struct dc_strbuf dir = {0};
    struct dc_strbuf report = {0};
    enum dc_status st = DC_OK;
    if (s->database_url == NULL && !check_only) {
        st = dc_cli_ensure_data_dir(s, &err);
    }
    if (st == DC_OK) {
        dc_cli_sqlite_path(s, &path);
        dc_cli_find_dir(cli, s->migrations_dir, DC_MIGRATIONS_DIRS, &dir);
        const struct dc_migrate_opts opts = {
            .url = s->database_url, .path = path.ptr, .dir = dir.ptr, .check_only = check_only};
        st = dc_migrate(&opts, &report, &err);
    }
    if (report.len > 0) {
        (void)fwrite(report.ptr, 1, report.len, stdout);
    }
    if (st == DC_OK && report.len == 0) {
        (void)puts("up to date");
    }
    if (st != DC_OK) {
        dc_cli_complain(&err);
    }
    dc_strbuf_free(&path);
    dc_strbuf_free(&dir);
    dc_strbuf_free(&report);
    return st == DC_OK ? DC_EXIT_OK : st == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED;
}

/* "90", "30m", "12h", "7d" in milliseconds; a bare number is seconds. */
static bool parse_ttl(const char *text_z, int64_t *ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    struct dc_slice s = dc_slice_z(text_z);
    int64_t factor = 1000;
    uint64_t n = 0;
    if (s.len > 1) {
        for (size_t i = 0; i < DC_ARRAY_LEN(units); i++) {
            if (s.ptr[s.len - 1] == units[i].unit) {
                factor = units[i].ms;
                s.len--;
                break;
            }
        }
    }
    if (!dc_slice_to_u64(s, &n) || n == 0 || n > (uint64_t)(TOKEN_TTL_MAX / factor)) {
        return false;
    }
    *ms = (int64_t)n * factor;
    return true;
}

/* The secret that the city will take tokens by: its own, or one that is made here for a city that
 * has not been started yet. */
static enum dc_status find_secret(struct dc_conf *conf, struct dc_error *err)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    enum dc_status st = s->jwt_secret == NULL ? dc_cli_read_secrets(conf, err) : DC_OK;
    if (st != DC_OK || s->jwt_secret != NULL) {
        return st;
    }
    st = dc_cli_ensure_data_dir(s, err);
    if (st == DC_OK) {
        st = dc_cli_ensure_secrets(conf, err);
    }
    if (st == DC_OK) {
        (void)fprintf(stderr,
                      "daarion: made a new secret in \"%s\": only a city that is started with this "
                      "DATA_DIR takes the token\n",
                      s->data_dir);
    }
    return st;
}

int dc_cli_token(struct dc_conf *conf, const char *sub_z, const char *name_z, const char *ttl_z)
{
    struct dc_error err = {0};
    struct dc_tokens *tokens = NULL;
    struct dc_strbuf out = {0};
    int64_t ttl_ms = 3600000;
    struct dc_utc now = dc_utc_now();
    if (sub_z == NULL || !dc_user_id_is_valid(dc_slice_z(sub_z))) {
        (void)fprintf(stderr, "daarion: token needs --sub=ID (1 to %d bytes without blanks)\n",
                      DC_USER_ID_MAX_BYTES);
        return DC_EXIT_USAGE;
    }
    if (name_z != NULL &&
        (!dc_text_is_valid(dc_slice_z(name_z)) || strlen(name_z) > DC_TOKEN_NAME_MAX_BYTES)) {
        (void)fprintf(stderr, "daarion: --name is text of at most %d bytes\n",
                      DC_TOKEN_NAME_MAX_BYTES);
        return DC_EXIT_USAGE;
    }
    if (ttl_z != NULL && !parse_ttl(ttl_z, &ttl_ms)) {
        (void)fputs("daarion: --ttl is a time such as 90s, 30m, 12h or 7d\n", stderr);
        return DC_EXIT_USAGE;
    }
    enum dc_status st = find_secret(conf, &err);
    if (st == DC_OK) {
        st = dc_tokens_create(dc_slice_z(dc_conf_settings(conf)->jwt_secret), &tokens, &err);
    }
    if (st == DC_OK) {
        const struct dc_claims claims = {.sub = dc_slice_z(sub_z),
                                         .name = dc_slice_z(name_z),
                                         .issued_at = now,
                                         .expires_at = {now.ms + ttl_ms}};
        st = dc_tokens_sign(tokens, &claims, &out, &err);
    }
    if (st == DC_OK &&
        (printf("%.*s\n", DC_SLICE_ARG(dc_strbuf_slice(&out))) < 0 || fflush(stdout) != 0)) {
        st = dc_fail(&err, DC_INTERNAL, errno, "cannot print the token: %s", dc_errno_text(errno));
    }
    if (st != DC_OK) {
        dc_cli_complain(&err);
    }
    dc_tokens_destroy(tokens);
    if (out.ptr != NULL) {
        dc_wipe(out.ptr, out.len);
    }
    dc_strbuf_free(&out);
    return st == DC_OK ? DC_EXIT_OK : st == DC_CONFIG ? DC_EXIT_CONFIG : DC_EXIT_FAILED;
}

/* --- healthcheck --- */

struct healthcheck {
    struct dc_http_client *client;
    int exit_code;
};

static void on_answer(void *data, enum dc_status st, const struct dc_http_answer *answer,
                      const struct dc_error *err)
{
    struct healthcheck *check = data;
    if (st != DC_OK) {
        dc_cli_complain(err);
    } else {
        (void)printf("%.*s\n", DC_SLICE_ARG(answer->body));
        check->exit_code = answer->http_status == 200 ? DC_EXIT_OK : DC_EXIT_FAILED;
    }
    dc_http_client_close(check->client);
}

int dc_cli_healthcheck(struct dc_conf *conf)
{
    const struct dc_settings *s = dc_conf_settings(conf);
    struct healthcheck check = {.exit_code = DC_EXIT_FAILED};
    struct dc_error err = {0};
    struct dc_loop *loop = NULL;
    struct dc_strbuf url = {0};
    bool is_v6 = strchr(s->internal_host, ':') != NULL;
    dc_strbuf_printf(&url, "http://%s%s%s:%lld/readyz", is_v6 ? "[" : "", s->internal_host,
                     is_v6 ? "]" : "", (long long)s->internal_port);
    dc_strbuf_add_char(&url, '\0');
    enum dc_status st = dc_loop_create(&loop, &err);
    if (st == DC_OK) {
        st = dc_http_client_create(loop, &check.client, &err);
    }
    if (st == DC_OK) {
        const struct dc_http_call call = {
            .method_z = "GET", .url_z = url.ptr, .deadline_ms = HEALTHCHECK_MS};
        st = dc_http_client_call(check.client, &call, on_answer, &check, NULL, &err);
        if (st != DC_OK) {
            dc_http_client_close(check.client);
        }
    }
    if (st != DC_OK) {
        dc_cli_complain(&err);
    }
    if (loop != NULL) {
        dc_loop_run(loop);
        if (dc_loop_destroy(loop) != DC_OK) {
            check.exit_code = DC_EXIT_FAILED;
        }
    }
    dc_strbuf_free(&url);
    return check.exit_code;
}
