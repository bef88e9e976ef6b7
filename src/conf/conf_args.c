/* The command line. */
#include "base/mem.h"
#include "conf/conf_priv.h"
#include <stdio.h>

struct reader {
    struct dc_conf *c;
    struct conf_args *args;
    int argc;
    int i; /* of the argument being read */
    char *const *argv;
    const struct dc_conf_flag *flags;
    size_t flag_count;
    struct dc_error *err;
};

/* "db-pool-size" to "DB_POOL_SIZE"; false when no option can be called so. */
static bool to_env_name(struct dc_slice dashed, char out[DC_OPT_NAME_MAX])
{
    if (dashed.len == 0 || dashed.len >= DC_OPT_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < dashed.len; i++) {
        char ch = dashed.ptr[i];
        if (ch >= 'a' && ch <= 'z') {
            out[i] = (char)(ch - 'a' + 'A');
        } else if (ch >= '0' && ch <= '9') {
            out[i] = ch;
        } else if (ch == '-') {
            out[i] = '_';
        } else {
            return false;
        }
    }
    out[dashed.len] = '\0';
    return true;
}

/* "DB_POOL_SIZE" to "db-pool-size", in place. */
static void to_dashed(char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '_') {
            *name = '-';
        } else if (*name >= 'A' && *name <= 'Z') {
            *name = (char)(*name - 'A' + 'a');
        }
    }
}

/* Longer than any name, so that a message stays readable. */
#define SHOWN_MAX 40
static int shown_len(struct dc_slice s)
{
    return s.len > SHOWN_MAX ? SHOWN_MAX : (int)s.len;
}

static enum dc_status fail_unknown(struct reader *r, struct dc_slice name)
{
    char env_name[DC_OPT_NAME_MAX];
    char near[DC_OPT_NAME_MAX];

    if (to_env_name(name, env_name) && dc_conf_names_nearest(dc_slice_z(env_name), true, near)) {
        to_dashed(near);
        return dc_fail(r->err, DC_CONFIG, 0, "unknown option --%.*s; did you mean --%s?",
                       shown_len(name), name.ptr, near);
    }
    return dc_fail(r->err, DC_CONFIG, 0, "unknown option --%.*s", shown_len(name), name.ptr);
}

static const struct dc_conf_flag *find_flag(const struct reader *r, struct dc_slice name)
{
    for (size_t i = 0; i < r->flag_count; i++) {
        if (dc_slice_eq(dc_slice_z(r->flags[i].name), name)) {
            return &r->flags[i];
        }
    }
    return NULL;
}

/* The argument behind this one, which is then its value; NULL: there is none. */
static const char *take_next(struct reader *r)
{
    if (r->i + 1 >= r->argc || strncmp(r->argv[r->i + 1], "--", 2) == 0) {
        return NULL;
    }
    return r->argv[++r->i];
}

static enum dc_status fail_no_value(struct reader *r, struct dc_slice name)
{
    return dc_fail(r->err, DC_CONFIG, 0, "--%.*s needs a value", shown_len(name), name.ptr);
}

static void add_flag(struct dc_conf *c, const char *name, const char *value)
{
    c->flags = dc_realloc(c->flags, (c->flag_count + 1) * sizeof(*c->flags));
    c->flags[c->flag_count++] =
        (struct conf_flag_value){.name = dc_strdup(name), .value = dc_strdup(value)};
}

static enum dc_status read_flag(struct reader *r, const struct dc_conf_flag *flag,
                                struct dc_slice name, const char *value)
{
    if (!flag->has_value) {
        if (value != NULL) {
            return dc_fail(r->err, DC_CONFIG, 0, "--%s takes no value", flag->name);
        }
        add_flag(r->c, flag->name, "");
        return DC_OK;
    }
    if (value == NULL) {
        value = take_next(r);
    }
    if (value == NULL) {
        return fail_no_value(r, name);
    }
    add_flag(r->c, flag->name, value);
    return DC_OK;
}

/* The option that a name in capitals means; *is_file: by its _FILE twin. */
static const struct dc_opt *find_option(struct dc_slice name, bool *is_file)
{
    struct dc_slice suffix = DC_S("_FILE");
    const struct dc_opt *o = dc_option_find(name);

    *is_file = false;
    if (o == NULL && dc_slice_ends(name, suffix)) {
        name.len -= suffix.len;
        o = dc_option_find(name);
        if (o != NULL && !dc_option_has_file(o)) {
            return NULL;
        }
        *is_file = true;
    }
    return o;
}

/* A bool may stand alone; the next argument is its value only if it is a word for yes or no. */
static const char *take_bool(struct reader *r)
{
    bool ignored;

    if (r->i + 1 < r->argc && dc_conf_bool_parse(dc_slice_z(r->argv[r->i + 1]), &ignored)) {
        return r->argv[++r->i];
    }
    return "yes";
}

static enum dc_status read_setting(struct reader *r, struct dc_slice name, const char *value)
{
    char env_name[DC_OPT_NAME_MAX];
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);
    const struct dc_opt *o = NULL;
    bool is_file = false;

    if (to_env_name(name, env_name)) {
        o = find_option(dc_slice_z(env_name), &is_file);
    }
    if (o == NULL) {
        return fail_unknown(r, name);
    }
    if (value == NULL && o->type == DC_OPT_BOOL) {
        value = take_bool(r);
    } else if (value == NULL) {
        value = take_next(r);
    }
    if (value == NULL) {
        return fail_no_value(r, name);
    }
    size_t index = (size_t)(o - options);
    if (is_file) {
        if (value[0] == '\0') {
            return fail_no_value(r, name);
        }
        r->args->files[index] = value;
        return DC_OK;
    }
    r->args->values[index] = value;
    if ((o->flags & DC_OPT_SECRET) != 0 && value[0] != '\0') {
        dc_conf_warn(r->c,
                     "%s on the command line can be seen by every user of this machine; "
                     "use the environment or %s_FILE",
                     o->name, o->name);
    }
    return DC_OK;
}

static void add_positional(struct dc_conf *c, const char *text)
{
    c->positionals = dc_realloc(c->positionals, (c->positional_count + 1) * sizeof(char *));
    c->positionals[c->positional_count++] = dc_strdup(text);
}

static enum dc_status read_option(struct reader *r, const char *arg)
{
    struct dc_slice name = dc_slice_z(arg + 2);
    const char *equals = strchr(arg, '=');
    const char *value = NULL;

    if (equals != NULL) {
        name.len = (size_t)(equals - name.ptr);
        value = equals + 1;
    }
    const struct dc_conf_flag *flag = find_flag(r, name);
    return flag != NULL ? read_flag(r, flag, name, value) : read_setting(r, name, value);
}

static enum dc_status read_all(struct reader *r)
{
    for (r->i = 1; r->i < r->argc; r->i++) {
        const char *arg = r->argv[r->i];
        enum dc_status st = DC_OK;
        if (strcmp(arg, "--") == 0) {
            for (r->i++; r->i < r->argc; r->i++) {
                add_positional(r->c, r->argv[r->i]);
            }
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            continue; /* seen by wants_help() */
        } else if (arg[0] == '-' && arg[1] == '-') {
            st = read_option(r, arg);
        } else if (arg[0] == '-' && arg[1] != '\0') {
            st = dc_fail(r->err, DC_CONFIG, 0, "unknown option %.*s", SHOWN_MAX, arg);
        } else {
            add_positional(r->c, arg);
        }
        if (st != DC_OK && !r->c->wants_help) {
            return st;
        }
    }
    return DC_OK;
}

/* A flag may be used with some commands only. */
static enum dc_status check_flags(const struct reader *r)
{
    const char *command = r->c->positional_count > 0 ? r->c->positionals[0] : "";

    for (size_t i = 0; i < r->c->flag_count; i++) {
        const char *name = r->c->flags[i].name;
        const char *belongs_to = NULL;
        bool is_ok = false;
        for (size_t k = 0; k < r->flag_count && !is_ok; k++) {
            if (strcmp(r->flags[k].name, name) == 0) {
                belongs_to = r->flags[k].command;
                is_ok = belongs_to == NULL || strcmp(belongs_to, command) == 0;
            }
        }
        if (!is_ok) {
            return dc_fail(r->err, DC_CONFIG, 0, "--%s belongs to the command %s", name,
                           belongs_to);
        }
    }
    return DC_OK;
}

static bool wants_help(int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

enum dc_status dc_conf_args_read(struct dc_conf *c, struct conf_args *args, int argc,
                                 char *const *argv, const struct dc_conf_flag *flags,
                                 size_t flag_count, struct dc_error *err)
{
    struct reader r = {.c = c,
                       .args = args,
                       .argc = argc,
                       .argv = argv,
                       .flags = flags,
                       .flag_count = flag_count,
                       .err = err};

    c->wants_help = wants_help(argc, argv);
    enum dc_status st = read_all(&r);
    if (st == DC_OK) {
        st = check_flags(&r);
    }
    /* Whoever asks for help gets it, however wrong the rest may be. */
    return c->wants_help ? DC_OK : st;
}
