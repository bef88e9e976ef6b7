/* What is kept for a while after it has lost its meaning, and then forgotten: the last word on
 * people who are offline, on rooms that are empty.  The delay lets those who are behind hear it.
 * All entries of one set last equally long, so the oldest is always the next one. */
#ifndef DC_ROLES_PRESENCE_AGGREGATOR_FADE_H
#define DC_ROLES_PRESENCE_AGGREGATOR_FADE_H

#include "base/list.h"
#include "base/map.h"
#include "base/strbuf.h"

struct dc_fade {
    struct dc_map by_id;
    struct dc_list order;
    int64_t length_ms;
    size_t max;
};
void dc_fade_init(struct dc_fade *f, int64_t length_ms, size_t max, const uint64_t seed[2]);
void dc_fade_free(struct dc_fade *f);
/* Begins, or begins anew.  subject: what is to be forgotten with the id; both are copied.  False:
 * there are max of them already. */
bool dc_fade_put(struct dc_fade *f, struct dc_slice id, struct dc_slice subject, int64_t now_ms);
void dc_fade_cancel(struct dc_fade *f, struct dc_slice id);
/* INT64_MAX: none. */
int64_t dc_fade_next_ms(const struct dc_fade *f);
/* Takes one whose time is over out: replaces *id and *subject. False: none is due. */
bool dc_fade_take(struct dc_fade *f, int64_t now_ms, struct dc_strbuf *id,
                  struct dc_strbuf *subject);

#endif
