/* The order of a homeserver's transactions. */
#include "matrix/matrix_order.h"

void dc_matrix_order_init(struct dc_matrix_order *order)
{
    *order = (struct dc_matrix_order){.patience = DC_MATRIX_ORDER_PATIENCE};
}

/* Has nothing been missed that should have come before? */
static bool is_in_order(const struct dc_matrix_order *order, uint64_t id)
{
    if (id <= order->refused) {
        return true; /* the oldest that there is */
    }
    if (!order->has_last) {
        return order->refused > 0; /* refused once already: it is no Synapse */
    }
    return id <= order->last || id - order->last == 1 || order->patience == 0;
}

bool dc_matrix_order_is_next(struct dc_matrix_order *order, struct dc_slice txn_id)
{
    uint64_t id;
    order->come++;
    if (!dc_slice_to_u64(txn_id, &id) || is_in_order(order, id)) {
        return true;
    }
    if (order->has_last) {
        order->patience--;
    }
    order->refused = id;
    dc_matrix_order_doubt(order);
    return false;
}

void dc_matrix_order_taken(struct dc_matrix_order *order, struct dc_slice txn_id, bool has_pulse)
{
    uint64_t id;
    bool is_number = dc_slice_to_u64(txn_id, &id);
    bool is_again = is_number && order->has_last && id <= order->last;
    bool was_missing = is_number && order->refused > 0 && id < order->refused;
    if (is_again || was_missing) { /* it recovers from something; the refusal was right */
        order->patience = DC_MATRIX_ORDER_PATIENCE;
        dc_matrix_order_doubt(order);
    }
    if (has_pulse && order->is_pulse_out && order->come == order->come_before_pulse + 1) {
        order->is_sure = true;
        order->is_pulse_out = false;
    }
    if (is_number) {
        if (id >= order->refused) {
            order->refused = 0;
        }
        order->has_last = true;
        order->last = id; /* also when it is lower: they may begin anew with the homeserver */
    }
}

void dc_matrix_order_failed(struct dc_matrix_order *order)
{
    order->patience = DC_MATRIX_ORDER_PATIENCE;
    dc_matrix_order_doubt(order);
}

void dc_matrix_order_doubt(struct dc_matrix_order *order)
{
    order->is_sure = false;
    order->is_pulse_out = false;
}

void dc_matrix_order_pulse(struct dc_matrix_order *order)
{
    order->is_pulse_out = true;
    order->come_before_pulse = order->come;
}
