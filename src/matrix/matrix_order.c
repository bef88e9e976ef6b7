/* The order of a homeserver's transactions. */
#include "matrix/matrix_order.h"

void dc_matrix_order_init(struct dc_matrix_order *order)
{
    *order = (struct dc_matrix_order){.patience = DC_MATRIX_ORDER_PATIENCE};
}

bool dc_matrix_order_is_next(struct dc_matrix_order *order, struct dc_slice txn_id)
{
    uint64_t id;
    if (!dc_slice_to_u64(txn_id, &id) || !order->has_last || id <= order->last ||
        id - order->last == 1 || order->patience == 0) {
        return true;
    }
    if (id <= order->refused) {
        return true; /* the oldest that there is */
    }
    order->patience--;
    order->refused = id;
    return false;
}

void dc_matrix_order_taken(struct dc_matrix_order *order, struct dc_slice txn_id)
{
    uint64_t id;
    if (!dc_slice_to_u64(txn_id, &id)) {
        return;
    }
    bool is_again = order->has_last && id <= order->last;
    bool was_missing = order->refused > 0 && id < order->refused;
    if (is_again || was_missing) { /* it recovers from something; the refusal was right */
        order->patience = DC_MATRIX_ORDER_PATIENCE;
    }
    if (id >= order->refused) {
        order->refused = 0;
    }
    order->has_last = true;
    order->last = id; /* also when it is lower: they may begin anew with the homeserver */
}

void dc_matrix_order_failed(struct dc_matrix_order *order)
{
    order->patience = DC_MATRIX_ORDER_PATIENCE;
}
