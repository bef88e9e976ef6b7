/* Names that people from the homeserver bear in rooms: what member events say, and what the
 * homeserver has been asked for.  A cache: past its bound those who have been quiet longest are
 * forgotten and asked for again.  Pure memory. */
#ifndef DC_ROLES_MATRIX_GATEWAY_NAMES_H
#define DC_ROLES_MATRIX_GATEWAY_NAMES_H

#include "base/slice.h"

struct dc_gateway_names;
struct dc_gateway_names *dc_gateway_names_create(size_t max_names);
/* NULL is allowed. */
void dc_gateway_names_destroy(struct dc_gateway_names *names);
/* Ids and name are copied. */
void dc_gateway_names_put(struct dc_gateway_names *names, struct dc_slice room_id,
                          struct dc_slice user_id, struct dc_slice name);
/* Borrowed until the next call; ptr NULL: not known. */
struct dc_slice dc_gateway_names_get(struct dc_gateway_names *names, struct dc_slice room_id,
                                     struct dc_slice user_id);

#endif
