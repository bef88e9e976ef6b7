/* What the homeserver pushes: routes of the application service, and the way on to city-service. */
#ifndef DC_ROLES_MATRIX_GATEWAY_TRANSACTIONS_H
#define DC_ROLES_MATRIX_GATEWAY_TRANSACTIONS_H

#include "roles/matrix_gateway/gateway.h"

/* DC_CONFIG when something is missing.  Without MATRIX_HS_TOKEN nobody may push. */
DC_MUST_USE enum dc_status dc_gateway_transactions_open(struct dc_gateway *g, struct dc_error *err);
void dc_gateway_routes_transactions(struct dc_gateway *g, struct dc_router *router);
/* Calls to the city under way end; the homeserver will come again. */
void dc_gateway_transactions_stop(struct dc_gateway *g);
void dc_gateway_transactions_free(struct dc_gateway *g);

#endif
