/* Loading: which source gives a setting its text, and what becomes of it.  All texts are owned by
 * the values; the settings point into them. */
#include "conf/conf.h"
#include "base/mem.h"
#include "conf/conf_priv.h"
#include <stdarg.h>
#include <stdio.h>

#define SHOWN_MAX 60

static void free_text(char *text)
{
    if (text != NULL) {
        dc_wipe(text, strlen(text));
        dc_free(text);
    }
}

void dc_conf_warn(struct dc_conf *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7F) {
            *p = '?'; /* a warning is one line, whatever a path may hold */
        }
    }
    c->warnings = dc_realloc(c->warnings, (c->warning_count + 1) * sizeof(char *));
    c->warnings[c->warning_count++] = dc_strdup(text);
}

/* `PORT=eighty is not a whole number (environment)` */
static enum dc_status fail_value(struct dc_error *err, const struct dc_opt *o, const char *text,
                                 const char *why, const char *source)
{
    struct dc_strbuf shown = {0};
    enum dc_status st;

    dc_conf_value_show(o, text, &shown);
    bool is_long = shown.len > SHOWN_MAX;
    bool is_secret = (o->flags & DC_OPT_SECRET) != 0;
    st = dc_fail(err, DC_CONFIG, 0, "%s%s%.*s%s %s (%s)", o->name, is_secret ? "" : "=",
                 is_secret ? 0 : (int)(is_long ? SHOWN_MAX : shown.len),
                 shown.ptr == NULL ? "" : shown.ptr, is_long ? "..." : "", why, source);
    dc_strbuf_free(&shown);
    return st;
}

/* Gives option number i this text (not empty) or, with NULL, its default. Takes neither string. */
static enum dc_status set_value(struct dc_conf *c, size_t i, const char *text, const char *source,
                                struct dc_error *err)
{
    size_t count = 0;
    const struct dc_opt *o = &dc_options(&count)[i];
    struct conf_value v = {.text = NULL};
    char why[CONF_WHY_SIZE];

    if (text == NULL) {
        text = o->def;
    }
    if (text == NULL) {
        *(const char **)(void *)((char *)&c->settings + o->offset) =
            NULL; /* only texts have none */
    } else {
        v.text = dc_strdup(text);
        if (!dc_conf_value_parse(o, v.text, &c->settings, why)) {
            enum dc_status st =
                fail_value(err, o, v.text, why, source == NULL ? "default" : source);
            free_text(v.text);
            return st;
        }
    }
    v.source = source == NULL ? NULL : dc_strdup(source);
    free_text(c->values[i].text);
    dc_free(c->values[i].source);
    c->values[i] = v;
    return DC_OK;
}

static enum dc_status set_from_file(struct dc_conf *c, size_t i, const char *name, const char *path,
                                    struct dc_error *err)
{
    char *text = NULL;
    enum dc_status st = dc_conf_file_read(c, name, path, &text, err);

    if (st == DC_OK) {
        struct dc_strbuf source = {0};
        dc_strbuf_add(&source, DC_S("file "));
        dc_strbuf_add_z(&source, path);
        dc_strbuf_add_char(&source, '\0');
        st = dc_strbuf_ok(&source) ? set_value(c, i, text, source.ptr, err)
                                   : dc_fail(err, DC_NO_MEMORY, 0, "%s: no memory", name);
        dc_strbuf_free(&source);
    }
    free_text(text);
    return st;
}

/* The first one counts, as with getenv(3); an empty one is none. */
static const char *env_get(char *const *environ_z, const char *name)
{
    size_t len = strlen(name);

    for (; environ_z != NULL && *environ_z != NULL; environ_z++) {
        if (strncmp(*environ_z, name, len) == 0 && (*environ_z)[len] == '=') {
            const char *value = *environ_z + len + 1;
            return value[0] == '\0' ? NULL : value;
        }
    }
    return NULL;
}

/* What the environment says for one option. */
struct env_value {
    char name[DC_OPT_NAME_MAX]; /* that it was found by */
    const char *text;           /* NULL: not given */
};

static void env_find(char *const *environ_z, const struct dc_opt *o, const char *suffix,
                     struct env_value *out)
{
    struct dc_slice rest = dc_slice_z(o->alias);
    struct dc_slice alias = dc_slice_z(o->name);

    do {
        (void)snprintf(out->name, sizeof(out->name), "%.*s%s", DC_SLICE_ARG(alias), suffix);
        out->text = env_get(environ_z, out->name);
    } while (out->text == NULL && dc_slice_take_token(&rest, ' ', &alias));
}

static enum dc_status set_from_env(struct dc_conf *c, size_t i, char *const *environ_z,
                                   struct dc_error *err)
{
    size_t count = 0;
    const struct dc_opt *o = &dc_options(&count)[i];
    struct env_value value = {.text = NULL};
    struct env_value file = {.text = NULL};
    char source[DC_OPT_NAME_MAX + 16];

    env_find(environ_z, o, "", &value);
    if (dc_option_has_file(o)) {
        env_find(environ_z, o, "_FILE", &file);
    }
    if (value.text != NULL) {
        if (file.text != NULL) {
            dc_conf_warn(c, "%s and %s are both set; the file is not read", value.name, file.name);
        }
        bool is_alias = strcmp(value.name, o->name) != 0;
        (void)snprintf(source, sizeof(source), "environment%s%s", is_alias ? " " : "",
                       is_alias ? value.name : "");
        return set_value(c, i, value.text, source, err);
    }
    if (file.text != NULL) {
        return set_from_file(c, i, file.name, file.text, err);
    }
    return DC_OK;
}

static enum dc_status set_one(struct dc_conf *c, size_t i, const struct conf_args *args,
                              char *const *environ_z, struct dc_error *err)
{
    size_t count = 0;
    const struct dc_opt *o = &dc_options(&count)[i];

    if (args->values[i] != NULL) {
        bool is_default = args->values[i][0] == '\0';
        return is_default ? DC_OK : set_value(c, i, args->values[i], "command line", err);
    }
    if (args->files[i] != NULL) {
        char name[DC_OPT_NAME_MAX];
        (void)snprintf(name, sizeof(name), "%s_FILE", o->name);
        return set_from_file(c, i, name, args->files[i], err);
    }
    return set_from_env(c, i, environ_z, err);
}

static void check_together(struct dc_conf *c)
{
    const struct dc_settings *s = &c->settings;

    if (s->ws_ping_interval_ms >= s->ws_idle_timeout_ms) {
        dc_conf_warn(c, "WS_PING_INTERVAL_MS is not shorter than WS_IDLE_TIMEOUT_MS: quiet "
                        "sockets are closed before they are pinged");
    }
}

static enum dc_status load(struct dc_conf *c, char *const *environ_z, int argc, char *const *argv,
                           const struct dc_conf_flag *flags, size_t flag_count,
                           struct conf_args *args, struct dc_error *err)
{
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);
    enum dc_status st;

    for (size_t i = 0; i < count; i++) {
        st = set_value(c, i, NULL, NULL, err);
        DC_ASSERT(st == DC_OK && options[i].name != NULL); /* our own table */
    }
    st = dc_conf_args_read(c, args, argc, argv, flags, flag_count, err);
    if (st != DC_OK || c->wants_help) {
        return st;
    }
    for (size_t i = 0; i < count; i++) {
        st = set_one(c, i, args, environ_z, err);
        if (st != DC_OK) {
            return st;
        }
    }
    dc_conf_names_check(c, environ_z);
    check_together(c);
    return DC_OK;
}

enum dc_status dc_conf_load(char *const *environ_z, int argc, char *const *argv,
                            const struct dc_conf_flag *flags, size_t flag_count,
                            struct dc_conf **out, struct dc_error *err)
{
    size_t count = 0;
    struct dc_conf *c = dc_calloc(1, sizeof(*c));
    struct conf_args args;
    enum dc_status st;

    *out = NULL;
    if (dc_options(&count) != NULL) {
        c->values = dc_calloc(count, sizeof(*c->values));
    }
    args.values = dc_calloc(count, sizeof(*args.values));
    args.files = dc_calloc(count, sizeof(*args.files));
    st = load(c, environ_z, argc, argv, flags, flag_count, &args, err);
    dc_free(args.values);
    dc_free(args.files);
    if (st != DC_OK) {
        dc_conf_destroy(c);
        return st;
    }
    *out = c;
    return DC_OK;
}

static void free_all(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free_text(texts[i]);
    }
    dc_free(texts);
}

void dc_conf_destroy(struct dc_conf *c)
{
    size_t count = 0;

    if (c == NULL) {
        return;
    }
    dc_options(&count);
    for (size_t i = 0; i < count; i++) {
        free_text(c->values[i].text);
        dc_free(c->values[i].source);
    }
    dc_free(c->values);
    for (size_t i = 0; i < c->flag_count; i++) {
        free_text(c->flags[i].name);
        free_text(c->flags[i].value);
    }
    dc_free(c->flags);
    free_all(c->positionals, c->positional_count);
    free_all(c->warnings, c->warning_count);
    dc_free(c);
}

const struct dc_settings *dc_conf_settings(const struct dc_conf *c)
{
    return &c->settings;
}

enum dc_status dc_conf_set(struct dc_conf *c, const char *name, const char *value,
                           const char *source_z, struct dc_error *err)
{
    size_t count = 0;
    const struct dc_opt *o = dc_option_find(dc_slice_z(name));

    if (o == NULL) {
        return dc_fail(err, DC_CONFIG, 0, "%.60s is not an option", name);
    }
    const char *text = value == NULL || value[0] == '\0' ? NULL : value;
    return set_value(c, (size_t)(o - dc_options(&count)), text, source_z, err);
}

bool dc_conf_is_given(const struct dc_conf *c, const char *name)
{
    size_t count = 0;
    const struct dc_opt *o = dc_option_find(dc_slice_z(name));

    return o != NULL && c->values[o - dc_options(&count)].source != NULL;
}

bool dc_conf_wants_help(const struct dc_conf *c)
{
    return c->wants_help;
}

size_t dc_conf_positional_count(const struct dc_conf *c)
{
    return c->positional_count;
}

const char *dc_conf_positional(const struct dc_conf *c, size_t i)
{
    return i < c->positional_count ? c->positionals[i] : NULL;
}

const char *dc_conf_flag(const struct dc_conf *c, const char *name)
{
    const char *value = NULL;

    for (size_t i = 0; i < c->flag_count; i++) {
        if (strcmp(c->flags[i].name, name) == 0) {
            value = c->flags[i].value; /* the last one counts */
        }
    }
    return value;
}

size_t dc_conf_warning_count(const struct dc_conf *c)
{
    return c->warning_count;
}

const char *dc_conf_warning(const struct dc_conf *c, size_t i)
{
    return i < c->warning_count ? c->warnings[i] : NULL;
}
