/* What people see of the configuration: `daarion config` and --help. */
#include "conf/conf_priv.h"

/* A source stands in one column unless its value is longer than this. */
#define VALUE_COLUMN_MAX 64
#define HELP_COLUMN      40

static void pad(struct dc_strbuf *out, size_t from, size_t width)
{
    while (out->len - from < width && dc_strbuf_ok(out)) {
        dc_strbuf_add_char(out, ' ');
    }
}

static void add_assignment(const struct dc_opt *o, const char *text, struct dc_strbuf *out)
{
    dc_strbuf_add_z(out, o->name);
    dc_strbuf_add_char(out, '=');
    dc_conf_value_show(o, text, out);
}

static bool is_shown_to(const struct dc_opt *o, const char *role)
{
    struct dc_slice rest = dc_slice_z(o->roles);
    struct dc_slice word;

    if ((o->flags & DC_OPT_INTERNAL) != 0) {
        return false;
    }
    if (role == NULL || o->roles == NULL) {
        return true;
    }
    while (dc_slice_take_token(&rest, ' ', &word)) {
        if (dc_slice_eq(word, dc_slice_z(role))) {
            return true;
        }
    }
    return false;
}

void dc_conf_print(const struct dc_conf *c, const char *role, struct dc_strbuf *out)
{
    size_t count = 0;
    size_t width = 0;
    const struct dc_opt *options = dc_options(&count);
    struct dc_strbuf line = {0};

    for (size_t i = 0; i < count; i++) {
        dc_strbuf_clear(&line);
        add_assignment(&options[i], c->values[i].text, &line);
        if (is_shown_to(&options[i], role) && line.len > width && line.len <= VALUE_COLUMN_MAX) {
            width = line.len;
        }
    }
    dc_strbuf_free(&line);
    for (size_t i = 0; i < count; i++) {
        const char *source = c->values[i].source;
        size_t from = out->len;
        if (!is_shown_to(&options[i], role)) {
            continue;
        }
        add_assignment(&options[i], c->values[i].text, out);
        pad(out, from, width);
        dc_strbuf_add(out, DC_S("  # "));
        dc_strbuf_add_z(out, source == NULL ? "default" : source);
        dc_strbuf_add_char(out, '\n');
    }
}

static const char *placeholder(const struct dc_opt *o)
{
    switch (o->type) {
    case DC_OPT_TEXT:
        return (o->flags & DC_OPT_URL) != 0 ? "URL" : "TEXT";
    case DC_OPT_INT:
        return "NUMBER";
    case DC_OPT_BOOL:
        return "yes|no";
    case DC_OPT_ENUM:
        return o->values;
    case DC_OPT_MS:
        return "TIME";
    case DC_OPT_BYTES:
        return "SIZE";
    }
    return "";
}

void dc_conf_help(const char *role, uint16_t port, struct dc_strbuf *out)
{
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);

    for (size_t i = 0; i < count; i++) {
        const struct dc_opt *o = &options[i];
        size_t from = out->len;
        if (!is_shown_to(o, role)) {
            continue;
        }
        dc_strbuf_printf(out, "  %s=%s", o->name, placeholder(o));
        pad(out, from, HELP_COLUMN - 1);
        dc_strbuf_add_char(out, ' ');
        dc_strbuf_add_z(out, o->help);
        if (dc_option_has_file(o)) {
            dc_strbuf_printf(out, " [or %s_FILE]", o->name);
        }
        if (port != 0 && dc_slice_eq(dc_slice_z(o->name), DC_S("PORT"))) {
            dc_strbuf_printf(out, " [%u]", (unsigned)port);
        } else if (o->def != NULL) {
            dc_strbuf_printf(out, " [%s]", o->def);
        }
        dc_strbuf_add_char(out, '\n');
    }
}

static bool contains_word(struct dc_slice key, struct dc_slice word)
{
    for (size_t i = 0; word.len <= key.len && i <= key.len - word.len; i++) {
        if (dc_slice_ieq(dc_slice_make(key.ptr + i, word.len), word)) {
            return true;
        }
    }
    return false;
}

static bool is_secret_key(struct dc_slice key)
{
    return contains_word(key, DC_S("pass")) || contains_word(key, DC_S("token")) ||
           contains_word(key, DC_S("secret")) || contains_word(key, DC_S("key"));
}

/* Where the first secret of a query begins (`?password=`); SIZE_MAX: there is none. */
static size_t find_secret(struct dc_slice s)
{
    size_t key_start = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '?' || s.ptr[i] == '&') {
            key_start = i + 1;
        } else if (s.ptr[i] == '=' &&
                   is_secret_key(dc_slice_make(s.ptr + key_start, i - key_start))) {
            return i + 1;
        }
    }
    return SIZE_MAX;
}

/* Nothing but a user's name. */
static bool is_user(struct dc_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (dc_slice_find(DC_S("/?#&=,;@"), s.ptr[i]) != SIZE_MAX) {
            return false;
        }
    }
    return true;
}

/* `user:password`, perhaps of several servers and with signs that should have been escaped.  Only
 * PostgreSQL's user is shown: NATS and Redis take a secret in its place. */
static void mask_user(struct dc_slice scheme, struct dc_slice info, struct dc_strbuf *out)
{
    size_t user_len = dc_slice_find(info, ':');
    bool has_password = user_len != SIZE_MAX;
    struct dc_slice user = dc_slice_make(info.ptr, has_password ? user_len : info.len);

    if (is_user(user) && dc_slice_starts(scheme, DC_S("postgres"))) {
        dc_strbuf_add(out, user);
        dc_strbuf_add_z(out, has_password ? ":***" : "");
    } else {
        dc_strbuf_add(out, DC_S("***"));
    }
}

void dc_conf_mask_url(struct dc_slice url, struct dc_strbuf *out)
{
    const char *scheme_end = url.len == 0 ? NULL : memmem(url.ptr, url.len, "://", 3);

    if (scheme_end == NULL) {
        /* No URL: "password=..." of libpq, or a typing error that may hold anything. */
        dc_strbuf_add(out, DC_S("(set)"));
        return;
    }
    size_t scheme_len = (size_t)(scheme_end - url.ptr) + 3;
    struct dc_slice scheme = dc_slice_make(url.ptr, scheme_len);
    struct dc_slice rest = dc_slice_make(url.ptr + scheme_len, url.len - scheme_len);
    const char *last_at = rest.len == 0 ? NULL : memrchr(rest.ptr, '@', rest.len);
    size_t at = last_at == NULL ? 0 : (size_t)(last_at - rest.ptr);
    size_t secret = find_secret(rest);

    dc_strbuf_add(out, scheme);
    if (last_at != NULL && secret <= at) {
        /* The '@' may belong to a password of the query, or the '=' to one in front of the '@'. */
        dc_strbuf_add(out, DC_S("***"));
        return;
    }
    if (last_at != NULL) {
        mask_user(scheme, dc_slice_make(rest.ptr, at), out);
    }
    if (secret == SIZE_MAX) {
        dc_strbuf_add(out, dc_slice_make(rest.ptr + at, rest.len - at));
    } else {
        dc_strbuf_add(out, dc_slice_make(rest.ptr + at, secret - at));
        dc_strbuf_add(out, DC_S("***"));
    }
}
