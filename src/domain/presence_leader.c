/* Who may publish presence: the lease as one candidate sees it. */
#include "domain/presence_leader.h"

#define NEVER INT64_MAX

/* What a lease counts for. */
static int64_t counted_ms(const struct dc_presence_leader *l)
{
    return l->lease_ms - l->lease_ms / 10;
}

void dc_presence_leader_init(struct dc_presence_leader *l, int64_t lease_ms, struct dc_mono now)
{
    *l = (struct dc_presence_leader){.lease_ms = lease_ms,
                                     .valid_until_ms = INT64_MIN,
                                     .echo_until_ms = INT64_MIN,
                                     .next_ask_ms = now.ms};
}

int64_t dc_presence_leader_every_ms(const struct dc_presence_leader *l)
{
    return l->lease_ms * 3 / 10;
}

bool dc_presence_leader_should_ask(const struct dc_presence_leader *l, struct dc_mono now)
{
    return !l->is_asking && now.ms >= l->next_ask_ms;
}

void dc_presence_leader_asked(struct dc_presence_leader *l, struct dc_mono now)
{
    l->is_asking = true;
    l->asked_at_ms = now.ms;
    l->next_ask_ms = now.ms + dc_presence_leader_every_ms(l);
}

/* The end of what has been proved. */
static int64_t until_ms(const struct dc_presence_leader *l)
{
    bool goes_on_by_bus = l->is_store_failing && l->echo_until_ms > l->valid_until_ms;
    return goes_on_by_bus ? l->echo_until_ms : l->valid_until_ms;
}

enum dc_leader_change dc_presence_leader_resign(struct dc_presence_leader *l)
{
    bool was_leading = l->is_leading;
    l->is_leading = false;
    l->valid_until_ms = INT64_MIN;
    l->echo_until_ms = INT64_MIN;
    return was_leading ? DC_LEADER_LOST : DC_LEADER_SAME;
}

static enum dc_leader_change granted(struct dc_presence_leader *l, int64_t token,
                                     struct dc_mono now)
{
    /* Whoever has lost its time in between, unnoticed so far, begins anew: what was published
     * meanwhile is not known. */
    enum dc_leader_change lost = dc_presence_leader_tick(l, now);
    if (lost != DC_LEADER_SAME) {
        l->next_ask_ms = now.ms;
        return lost;
    }
    l->is_store_failing = false;
    if (l->asked_at_ms + counted_ms(l) <= now.ms) {
        l->next_ask_ms = now.ms; /* the answer was too long on its way to prove anything */
        return DC_LEADER_SAME;
    }
    l->valid_until_ms = l->asked_at_ms + counted_ms(l);
    bool is_same = l->is_leading && l->token == token;
    enum dc_leader_change change = l->is_leading ? DC_LEADER_RENEWED : DC_LEADER_GAINED;
    l->is_leading = true;
    l->token = token;
    return is_same ? DC_LEADER_SAME : change;
}

enum dc_leader_change dc_presence_leader_answered(struct dc_presence_leader *l, enum dc_status st,
                                                  int64_t token, struct dc_mono now)
{
    l->is_asking = false;
    if (st == DC_OK) {
        return granted(l, token, now);
    }
    if (st == DC_CONFLICT) {
        l->is_store_failing = false;
        return dc_presence_leader_resign(l);
    }
    l->is_store_failing = true;
    return dc_presence_leader_tick(l, now);
}

void dc_presence_leader_echoed(struct dc_presence_leader *l, struct dc_mono sent_at)
{
    int64_t until = sent_at.ms + counted_ms(l);
    if (l->is_leading && until > l->echo_until_ms) {
        l->echo_until_ms = until;
    }
}

void dc_presence_leader_hurry(struct dc_presence_leader *l, struct dc_mono now)
{
    l->next_ask_ms = now.ms;
}

bool dc_presence_leader_may_publish(const struct dc_presence_leader *l, struct dc_mono now)
{
    return l->is_leading && now.ms < until_ms(l);
}

bool dc_presence_leader_is_confirmed(const struct dc_presence_leader *l, struct dc_mono now)
{
    return l->is_leading && now.ms < l->valid_until_ms;
}

enum dc_leader_change dc_presence_leader_tick(struct dc_presence_leader *l, struct dc_mono now)
{
    if (l->is_leading && now.ms >= until_ms(l)) {
        return dc_presence_leader_resign(l);
    }
    return DC_LEADER_SAME;
}

int64_t dc_presence_leader_next_due_ms(const struct dc_presence_leader *l)
{
    int64_t ask = l->is_asking ? NEVER : l->next_ask_ms;
    int64_t end = l->is_leading ? until_ms(l) : NEVER;
    return ask < end ? ask : end;
}
