/* The table of all options, and the names that belong to somebody else.  For the files of src/conf
 * and their tests. */
#ifndef DC_CONF_OPTIONS_H
#define DC_CONF_OPTIONS_H

#include "conf/conf.h"

#define DC_OPT_NAME_MAX 64 /* names of options, aliases and _FILE twins are shorter */

/* In the order of --help and `daarion config`. */
const struct dc_opt *dc_options(size_t *count);

/* The option with this name or alias; NULL. */
const struct dc_opt *dc_option_find(struct dc_slice name);

/* It may be given by a file that NAME_FILE names. */
static inline bool dc_option_has_file(const struct dc_opt *o)
{
    return (o->flags & (DC_OPT_SECRET | DC_OPT_URL)) != 0;
}

/* A name of the specifications that another role or the web application reads (CONTRACT §1.5):
 * known, though not an option here. */
bool dc_option_is_reserved(struct dc_slice name);

#endif
