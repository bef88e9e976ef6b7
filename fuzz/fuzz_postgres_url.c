/* Database URLs and what libpq says about connections.  A URL that is accepted means what libpq
 * reads in its other notation, has a port and an sslmode that exist, and nothing twice; a refusal
 * never repeats the URL.  The same bytes are also taken as a message of libpq. */
#include "base/strbuf.h"
#include "db/postgres_url.h"
#include "fuzz.h"

#include <libpq-fe.h>
#include <stdlib.h>

static const char *value_of(const struct dc_pg_url *u, const char *keyword)
{
    const char *value = NULL;
    for (size_t i = 0; i < u->n; i++) {
        if (strcmp(u->keywords[i], keyword) == 0) {
            DC_ASSERT(value == NULL); /* each once */
            value = u->values[i];
        }
    }
    return value;
}

/* keyword='value' … with quotes and backslashes escaped, read by libpq: the same settings. */
static void check_other_notation(const struct dc_pg_url *u)
{
    struct dc_strbuf text = {0};
    for (size_t i = 0; i < u->n; i++) {
        dc_strbuf_add_z(&text, u->keywords[i]);
        dc_strbuf_add(&text, DC_S("='"));
        for (const char *c = u->values[i]; *c != '\0'; c++) {
            if (*c == '\'' || *c == '\\') {
                dc_strbuf_add_char(&text, '\\');
            }
            dc_strbuf_add_char(&text, *c);
        }
        dc_strbuf_add(&text, DC_S("' "));
    }
    dc_strbuf_add_char(&text, '\0');
    PQconninfoOption *options = PQconninfoParse(text.ptr, NULL);
    DC_ASSERT(options != NULL);
    size_t n = 0;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        const char *ours = value_of(u, o->keyword);
        DC_ASSERT((ours == NULL) == (o->val == NULL));
        if (ours != NULL) {
            DC_ASSERT(strcmp(ours, o->val) == 0);
            n++;
        }
    }
    DC_ASSERT(n == u->n);
    PQconninfoFree(options);
    dc_strbuf_free(&text);
}

/* Numbers between commas; an empty one stands for the default. */
static void check_ports(const char *ports)
{
    while (*ports != '\0') {
        size_t len = strcspn(ports, ",");
        DC_ASSERT(strspn(ports, "0123456789") == len);
        DC_ASSERT(len == 0 || (strtod(ports, NULL) >= 1 && strtod(ports, NULL) <= 65535));
        ports += ports[len] == ',' ? len + 1 : len;
    }
}

static void check_accepted(struct dc_pg_url *u)
{
    const char *port = value_of(u, "port"), *mode = value_of(u, "sslmode");
    DC_ASSERT(u->keywords[u->n] == NULL && u->values[u->n] == NULL);
    if (port != NULL) {
        check_ports(port);
    }
    if (mode != NULL) {
        char quoted[32];
        DC_ASSERT(strlen(mode) < 16);
        DC_ASSERT(snprintf(quoted, sizeof(quoted), " %s ", mode) > 0);
        DC_ASSERT(strstr(" disable allow prefer require verify-ca verify-full ", quoted) != NULL);
    }
    check_other_notation(u);

    const char *old = value_of(u, "options");
    char *before = strdup(old == NULL ? "" : old);
    DC_ASSERT(before != NULL);
    dc_pg_url_add_option(u, "TimeZone", "UTC");
    const char *after = value_of(u, "options");
    size_t len = strlen(before);
    DC_ASSERT(after != NULL && strncmp(after, before, len) == 0);
    DC_ASSERT(strcmp(after + len, old == NULL ? "-c TimeZone=UTC" : " -c TimeZone=UTC") == 0);
    free(before);

    char *name =
        value_of(u, "application_name") == NULL ? NULL : strdup(value_of(u, "application_name"));
    dc_pg_url_default(u, "application_name", "daarion");
    DC_ASSERT(strcmp(value_of(u, "application_name"), name == NULL ? "daarion" : name) == 0);
    free(name);
    dc_pg_url_set(u, "application_name", "x");
    DC_ASSERT(strcmp(value_of(u, "application_name"), "x") == 0);
}

static void check_url(const char *text)
{
    static const char *const refusals[] = {
        "it must start with postgresql://",
        "it is malformed",
        "no valid port",
        "no valid sslmode",
    };
    struct dc_pg_url u;
    struct dc_error err = {.status = DC_OK};
    enum dc_status st = dc_pg_url_parse(text, &u, &err);
    PQconninfoOption *options = PQconninfoParse(text, NULL);
    DC_ASSERT(st == DC_OK || st == DC_CONFIG);
    if (st == DC_OK) {
        DC_ASSERT(options != NULL);
        check_accepted(&u);
        dc_pg_url_free(&u);
    } else {
        bool is_known = false;
        for (size_t i = 0; i < DC_ARRAY_LEN(refusals); i++) {
            is_known = is_known || strcmp(dc_error_text(&err), refusals[i]) == 0;
        }
        DC_ASSERT(is_known);
    }
    DC_ASSERT(u.n == 0);
    PQconninfoFree(options);
}

static void check_message(const char *text)
{
    char state[6] = "?????";
    dc_pg_sqlstate_of_message(text, state);
    if (state[0] != '\0') {
        char framed[10];
        DC_ASSERT(strlen(state) == 5);
        DC_ASSERT(strspn(state, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 5);
        DC_ASSERT(snprintf(framed, sizeof(framed), ":  %s:", state) > 0);
        DC_ASSERT(strstr(text, framed) != NULL);
    }
    for (size_t size = 1; size <= 64; size = size * 2 + 1) {
        char line[64];
        dc_pg_first_line(text, line, size);
        size_t len = strlen(line);
        DC_ASSERT(len < size && memcmp(text, line, len) == 0 && strchr(line, '\n') == NULL);
        DC_ASSERT(len + 1 == size || text[len] == '\0' || text[len] == '\n');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    DC_ASSERT(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    check_url(text);
    check_message(text);
    free(text);
    return 0;
}
