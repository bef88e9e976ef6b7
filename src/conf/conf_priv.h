/* Between the files of src/conf. */
#ifndef DC_CONF_CONF_PRIV_H
#define DC_CONF_CONF_PRIV_H

#include "conf/options.h"

struct conf_value {
    char *text;   /* the setting's text, which it may point to; NULL: unset */
    char *source; /* NULL: the default */
};

/* What the command line says, borrowed from argv; arrays by index in the table. */
struct conf_args {
    const char **values; /* NULL: not given; "": back to the default */
    const char **files;  /* NAME_FILE */
};

struct conf_flag_value {
    char *name;
    char *value;
};

struct dc_conf {
    struct dc_settings settings;
    struct conf_value *values; /* by index in the table */
    char **positionals;
    size_t positional_count;
    struct conf_flag_value *flags;
    size_t flag_count;
    char **warnings;
    size_t warning_count;
    bool wants_help;
};

/* conf_value.c: text (not NULL, not empty) into *s; texts and words are pointed to, not copied.
 * false: *s is unchanged, why says what is wrong, to stand behind the value. */
#define CONF_WHY_SIZE 128
DC_MUST_USE bool dc_conf_value_parse(const struct dc_opt *o, const char *text,
                                     struct dc_settings *s, char why[CONF_WHY_SIZE]);
/* One of the words for yes and no. */
bool dc_conf_bool_parse(struct dc_slice text, bool *out);
/* Appends a value as it may be shown: secrets hidden, URLs masked, nothing that a terminal obeys.
 */
void dc_conf_value_show(const struct dc_opt *o, const char *text, struct dc_strbuf *out);

/* conf_args.c: fills *args (whose arrays are the caller's) and the positional arguments, flags and
 * wants_help of *c. */
DC_MUST_USE enum dc_status dc_conf_args_read(struct dc_conf *c, struct conf_args *args, int argc,
                                             char *const *argv, const struct dc_conf_flag *flags,
                                             size_t flag_count, struct dc_error *err);

/* conf_file.c: the contents of a secret's file without line ends behind it; dc_wipe and dc_free it.
 * name is that of the _FILE setting.  DC_CONFIG, with name and path: not readable, no regular file,
 * empty, above 64 KiB, NUL bytes. */
DC_MUST_USE enum dc_status dc_conf_file_read(struct dc_conf *c, const char *name, const char *path,
                                             char **out, struct dc_error *err);

/* conf_names.c: warns about names in the environment. */
void dc_conf_names_check(struct dc_conf *c, char *const *environ_z);
/* The known name that looks most like this one, copied to out; false: none is near. */
bool dc_conf_names_nearest(struct dc_slice name, bool is_wrong_anyway, char out[DC_OPT_NAME_MAX]);
/* Edits (insert, remove, replace, swap neighbours) between two names, counted up to limit + 1. */
size_t dc_conf_names_distance(struct dc_slice a, struct dc_slice b, size_t limit);

/* conf.c */
void dc_conf_warn(struct dc_conf *c, const char *fmt, ...) DC_PRINTF(2, 3);

#endif
