/* See postgres_url.h.  What libpq would only find out while it connects, and would then report like
 * a network failure, is checked here: port and sslmode. */
#include "db/postgres_url.h"
#include "base/mem.h"
#include "base/slice.h"
#include <ctype.h>
#include <libpq-fe.h>
#include <stdio.h>

static const char *find(const struct dc_pg_url *u, const char *keyword)
{
    for (size_t i = 0; i < u->n; i++) {
        if (strcmp(u->keywords[i], keyword) == 0) {
            return u->values[i];
        }
    }
    return NULL;
}

static bool ports_are_valid(const char *ports_z)
{
    struct dc_slice rest = dc_slice_z(ports_z), port;

    while (dc_slice_take_token(&rest, ',', &port)) {
        uint64_t number = 0;
        if (port.len > 0 && (!dc_slice_to_u64(port, &number) || number < 1 || number > 65535)) {
            return false;
        }
    }
    return true;
}

static bool sslmode_is_valid(const char *mode_z)
{
    static const char *const modes[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};

    for (size_t i = 0; i < DC_ARRAY_LEN(modes); i++) {
        if (strcmp(modes[i], mode_z) == 0) {
            return true;
        }
    }
    return false;
}

static enum dc_status check(const struct dc_pg_url *u, struct dc_error *err)
{
    const char *port = find(u, "port"), *sslmode = find(u, "sslmode");

    if (port != NULL && !ports_are_valid(port)) {
        return dc_fail(err, DC_CONFIG, 0, "no valid port");
    }
    if (sslmode != NULL && !sslmode_is_valid(sslmode)) {
        return dc_fail(err, DC_CONFIG, 0, "no valid sslmode");
    }
    return DC_OK;
}

enum dc_status dc_pg_url_parse(const char *url, struct dc_pg_url *out, struct dc_error *err)
{
    struct dc_slice s = dc_slice_z(url);
    PQconninfoOption *options;
    char *message = NULL;

    *out = (struct dc_pg_url){.n = 0};
    if (!dc_slice_starts(s, DC_S("postgresql://")) && !dc_slice_starts(s, DC_S("postgres://"))) {
        return dc_fail(err, DC_CONFIG, 0, "it must start with postgresql://");
    }
    options = PQconninfoParse(url, &message);
    if (options == NULL) {
        if (message != NULL) {
            PQfreemem(message);
        }
        return dc_fail(err, DC_CONFIG, 0, "it is malformed");
    }
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val != NULL) {
            dc_pg_url_set(out, o->keyword, o->val);
        }
    }
    PQconninfoFree(options);
    enum dc_status st = check(out, err);
    if (st != DC_OK) {
        dc_pg_url_free(out);
    }
    return st;
}

void dc_pg_url_set(struct dc_pg_url *u, const char *keyword, const char *value)
{
    for (size_t i = 0; i < u->n; i++) {
        if (strcmp(u->keywords[i], keyword) == 0) {
            dc_free(u->values[i]);
            u->values[i] = dc_strdup(value);
            return;
        }
    }
    DC_ASSERT(u->n < DC_PG_MAX_SETTINGS); /* libpq knows about forty */
    u->keywords[u->n] = dc_strdup(keyword);
    u->values[u->n] = dc_strdup(value);
    u->n++;
}

void dc_pg_url_default(struct dc_pg_url *u, const char *keyword, const char *value)
{
    if (find(u, keyword) == NULL) {
        dc_pg_url_set(u, keyword, value);
    }
}

void dc_pg_url_add_option(struct dc_pg_url *u, const char *name, const char *value)
{
    const char *old = find(u, "options");
    size_t size = strlen(name) + strlen(value) + (old == NULL ? 0 : strlen(old)) + 8;
    char *text = dc_alloc(size);
    int len = snprintf(text, size, "%s%s-c %s=%s", old == NULL ? "" : old, old == NULL ? "" : " ",
                       name, value);

    DC_ASSERT(len > 0 && (size_t)len < size);
    dc_pg_url_set(u, "options", text);
    dc_free(text);
}

void dc_pg_url_free(struct dc_pg_url *u)
{
    for (size_t i = 0; i < u->n; i++) {
        dc_wipe(u->values[i], strlen(u->values[i]));
        dc_free(u->values[i]);
        dc_free(u->keywords[i]);
    }
    *u = (struct dc_pg_url){.n = 0};
}

enum dc_status dc_pg_name_setting(enum dc_status st, struct dc_error *err)
{
    if (st == DC_CONFIG && err != NULL) {
        struct dc_error plain = *err;
        (void)dc_fail(err, DC_CONFIG, plain.cause, "DATABASE_URL: %.160s", dc_error_text(&plain));
    }
    return st;
}

void dc_pg_sqlstate_of_message(const char *message, char out[6])
{
    /* "FATAL:  28P01: password authentication failed…" */
    for (const char *p = strstr(message, ":  "); p != NULL; p = strstr(p + 1, ":  ")) {
        size_t n = 0;
        while (n < 5 && (isupper((unsigned char)p[3 + n]) || isdigit((unsigned char)p[3 + n]))) {
            n++;
        }
        if (n == 5 && p[8] == ':') {
            memcpy(out, p + 3, 5);
            out[5] = '\0';
            return;
        }
    }
    out[0] = '\0';
}

bool dc_pg_is_config_problem(const char *sqlstate)
{
    static const char *const states[] = {
        "28P01", /* wrong password */
        "28000", /* role missing, or not let in by pg_hba.conf */
        "3D000", /* no such database */
        "42501", /* no right to connect */
        "22023", /* a setting of the URL has no such value */
        "42704", /* a setting of the URL does not exist */
    };

    for (size_t i = 0; i < DC_ARRAY_LEN(states); i++) {
        if (strcmp(states[i], sqlstate) == 0) {
            return true;
        }
    }
    return false;
}

void dc_pg_first_line(const char *message, char *out, size_t size)
{
    size_t len = strcspn(message, "\n");

    DC_ASSERT(size > 0);
    if (len >= size) {
        len = size - 1;
    }
    memcpy(out, message, len);
    out[len] = '\0';
}
