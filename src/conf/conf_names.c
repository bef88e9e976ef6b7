/* Names that look wrong.  A misspelt name in the environment is otherwise silent: the server runs
 * with the default and nobody knows why. */
#include "conf/conf_priv.h"
#include <stdio.h>

/* Shorter names have too many innocent neighbours in an environment. */
#define MIN_LEN_ONE_EDIT  6
#define MIN_LEN_TWO_EDITS 8

static size_t min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* "Optimal string alignment": three rows of the usual table. */
size_t dc_conf_names_distance(struct dc_slice a, struct dc_slice b, size_t limit)
{
    size_t rows[3][DC_OPT_NAME_MAX + 1];
    size_t far = limit + 1;

    if (a.len > DC_OPT_NAME_MAX || b.len > DC_OPT_NAME_MAX ||
        (a.len > b.len ? a.len - b.len : b.len - a.len) > limit) {
        return far;
    }
    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            row[j] = min2(replaced, min2(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1]) {
                row[j] = min2(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return min2(rows[a.len % 3][b.len], far);
}

struct nearest {
    struct dc_slice name;
    bool is_wrong_anyway;
    size_t best; /* edits of the candidate in out */
    char *out;
};

/* Known names with a unit are often written without. */
static bool lacks_unit(struct dc_slice name, struct dc_slice known)
{
    static const char *const units[] = {"_MS", "_BYTES", "_PER_S", "_CHARS"};
    struct dc_slice rest = known;

    if (!dc_slice_take_prefix(&rest, name)) {
        return false;
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(units); i++) {
        if (dc_slice_eq(rest, dc_slice_z(units[i]))) {
            return true;
        }
    }
    return false;
}

static void consider(struct nearest *n, const char *known_z)
{
    struct dc_slice known = dc_slice_z(known_z);
    size_t limit = known.len >= MIN_LEN_TWO_EDITS ? 2 : (known.len >= MIN_LEN_ONE_EDIT ? 1 : 0);

    if (n->is_wrong_anyway) {
        limit = known.len >= MIN_LEN_ONE_EDIT ? 2 : 1 + (known.len > 3);
    }
    size_t d = lacks_unit(n->name, known) ? 1 : dc_conf_names_distance(n->name, known, limit);
    if (d <= limit && d < n->best && dc_slice_copy_z(known, n->out, DC_OPT_NAME_MAX)) {
        n->best = d;
    }
}

static void consider_with_file(struct nearest *n, const char *name, bool has_file)
{
    char twin[DC_OPT_NAME_MAX + sizeof("_FILE")];

    consider(n, name);
    if (has_file) {
        (void)snprintf(twin, sizeof(twin), "%s_FILE", name);
        consider(n, twin);
    }
}

bool dc_conf_names_nearest(struct dc_slice name, bool is_wrong_anyway, char out[DC_OPT_NAME_MAX])
{
    struct nearest n = {.name = name, .is_wrong_anyway = is_wrong_anyway, .best = SIZE_MAX};
    size_t count = 0;
    const struct dc_opt *options = dc_options(&count);

    n.out = out;
    for (size_t i = 0; i < count; i++) {
        const struct dc_opt *o = &options[i];
        struct dc_slice rest = dc_slice_z(o->alias);
        struct dc_slice alias;
        char alias_z[DC_OPT_NAME_MAX];
        consider_with_file(&n, o->name, dc_option_has_file(o));
        while (dc_slice_take_token(&rest, ' ', &alias)) {
            if (dc_slice_copy_z(alias, alias_z, sizeof(alias_z))) {
                consider_with_file(&n, alias_z, dc_option_has_file(o));
            }
        }
    }
    return n.best != SIZE_MAX;
}

/* An option, an alias or the _FILE twin of one. */
static bool is_known(struct dc_slice name)
{
    struct dc_slice twin_suffix = DC_S("_FILE");

    if (dc_option_find(name) != NULL) {
        return true;
    }
    if (!dc_slice_ends(name, twin_suffix)) {
        return false;
    }
    name.len -= twin_suffix.len;
    const struct dc_opt *o = dc_option_find(name);
    return o != NULL && dc_option_has_file(o);
}

static void check_name(struct dc_conf *c, struct dc_slice name)
{
    struct dc_slice bare = name;
    char near[DC_OPT_NAME_MAX];

    if (name.len > DC_OPT_NAME_MAX || is_known(name) || dc_option_is_reserved(name)) {
        return;
    }
    bool is_ours = dc_slice_take_prefix(&bare, DC_S("DAARION_"));
    if (is_ours && is_known(bare)) {
        dc_conf_warn(c, "%.*s is not an option; did you mean %.*s?", DC_SLICE_ARG(name),
                     DC_SLICE_ARG(bare));
    } else if (dc_conf_names_nearest(bare, is_ours, near)) {
        dc_conf_warn(c, "%.*s is not an option; did you mean %s?", DC_SLICE_ARG(name), near);
    } else if (is_ours) {
        dc_conf_warn(c, "%.*s is not an option; see --help", DC_SLICE_ARG(name));
    }
}

/* What a shell lets be a name; others are nobody's misspelling and might hold anything. */
static bool is_plain(struct dc_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        if (!((ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
              ch == '_')) {
            return false;
        }
    }
    return name.len > 0;
}

void dc_conf_names_check(struct dc_conf *c, char *const *environ_z)
{
    for (; environ_z != NULL && *environ_z != NULL; environ_z++) {
        struct dc_slice value = dc_slice_z(*environ_z);
        struct dc_slice name;
        if (dc_slice_take_token(&value, '=', &name) && value.len > 0 && is_plain(name)) {
            check_name(c, name);
        }
    }
}
