/* What the transactions of this role owe to the bus: the texts of their outbox rows, made once, for
 * the row and for the bus alike, and handed to the relay after the commit. */
#ifndef DC_ROLES_CITY_OWED_H
#define DC_ROLES_CITY_OWED_H

#include "base/arena.h"
#include "roles/city/repo.h"

/* false: out of memory. Texts live in the arena. */
DC_MUST_USE bool dc_owed_message_make(struct dc_arena *arena, const struct dc_message *m,
                                      const struct dc_feed_event *e, struct dc_owed_message *out);
/* m has the position that the commit gave it; ids are those of dc_repo_message_stored(). */
void dc_owed_message_publish(struct dc_city *city, struct dc_city_room *room,
                             const struct dc_message *m, const struct dc_feed_event *e,
                             const struct dc_owed_message *owed,
                             const int64_t ids[DC_OWED_OF_MESSAGE]);

/* e NULL: a room that nobody made, such as a default room. */
DC_MUST_USE bool dc_owed_room_make(struct dc_arena *arena, const struct dc_room_row *row,
                                   const struct dc_feed_event *e, struct dc_owed_room *out);
void dc_owed_room_publish(struct dc_city *city, const struct dc_feed_event *e,
                          const struct dc_owed_room *owed, const int64_t ids[DC_OWED_OF_ROOM]);

/* A change of a room; id is its own (kept in the arena). e NULL: no feed event. */
DC_MUST_USE bool dc_owed_change_make(struct dc_arena *arena, struct dc_slice room_id,
                                     struct dc_slice id, const struct dc_feed_event *e,
                                     struct dc_room_change *out);
void dc_owed_change_publish(struct dc_city *city, const struct dc_room_change *c,
                            const int64_t ids[DC_OWED_OF_CHANGE]);

#endif
