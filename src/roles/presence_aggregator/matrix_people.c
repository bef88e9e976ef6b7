/* People as a homeserver knows them. */
#include "roles/presence_aggregator/aggregator.h"

enum dc_status dc_agg_matrix_presence(struct dc_aggregator *a, struct dc_slice user_id,
                                      enum dc_presence_status status, struct dc_utc last_active)
{
    status = dc_agg_heartbeat_said(a, user_id, status, last_active);
    return dc_presence_matrix_status(a->core, user_id, status, last_active, dc_agg_now(a));
}
