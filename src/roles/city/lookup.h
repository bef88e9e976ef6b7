/* Rooms that this process does not know although they exist: another process has made them, and the
 * bus has not told of it yet, or never will.  Each question is one read by key; strangers can ask
 * for what does not exist, so questions are limited in rate, each address by itself, and past that
 * the answer is to come again: only the database says that a room does not exist. */
#ifndef DC_ROLES_CITY_LOOKUP_H
#define DC_ROLES_CITY_LOOKUP_H

#include "roles/city/repo.h"

/* Questions a second, and at once; of the bus, and of each address that asks. */
#define DC_LOOKUPS_PER_S  20
#define DC_LOOKUPS_BURST  50
#define DC_LOOKUPS_ASKERS 10000

/* Reads one room into the directory, for a message of the bus. */
void dc_lookup_room(struct dc_city *city, struct dc_slice room_id);
/* Reads one again that has changed, as the bus says. */
void dc_lookup_changed(struct dc_city *city, struct dc_slice room_id);
/* Puts the rooms of a result (dc_repo_room, dc_repo_rooms) into the directory, those that it does
 * not know, and those that have changed; added may be NULL. */
void dc_lookup_take(struct dc_city *city, const struct dc_db_result *r,
                    void (*added)(void *data, struct dc_city_room *room), void *data);

#endif
