/* What the two readers of field tables share (input.c: JSON, input_query.c: query strings).  For
 * these two files only. */
#ifndef DC_BASE_INPUT_PRIV_H
#define DC_BASE_INPUT_PRIV_H

#include "base/input.h"

/* Each checks the value against the field and either stores it in the target or adds a problem and
 * returns false. */
bool dc_input_put_text(const struct dc_field *f, struct dc_slice text, void *target,
                       struct dc_problems *problems);
bool dc_input_put_int(const struct dc_field *f, int64_t v, void *target,
                      struct dc_problems *problems);
bool dc_input_put_bool(const struct dc_field *f, bool v, void *target);

/* Always false: for `return`. */
bool dc_input_wrong_type(const struct dc_field *f, struct dc_problems *problems);
bool dc_input_out_of_range(const struct dc_field *f, struct dc_problems *problems);
/* true unless the field is required. */
bool dc_input_missing(const struct dc_field *f, struct dc_problems *problems);

#endif
