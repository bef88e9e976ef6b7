/* What Synapse needs so that the presence daemon can follow a large city: daarion-presence.yaml,
 * one more file of settings beside daarion-homeserver.yaml (matrix/config_files.h).  It has no
 * secrets and is made anew whenever there are new rooms; what is in it goes by the number of
 * people:
 *
 *   from 1,000     the presence router module (deploy/synapse/daarion_presence.py): the daemon
 *                  hears of everybody, also of people in no room of the city
 *   from 10,000    and the rooms of the city taken out of presence for all the other clients: each
 *                  (change x client that sees it) costs Synapse about half a millisecond
 *   from 100,000   and slower presence timers
 *
 * Synapse reads all of it when it starts.  A room that is not in the list yet costs time, and
 * nothing else. */
#ifndef DC_MATRIX_PRESENCE_FILE_H
#define DC_MATRIX_PRESENCE_FILE_H

#include "base/status.h"
#include "base/strbuf.h"

#define DC_MATRIX_PRESENCE_FILE      "daarion-presence.yaml"
#define DC_MATRIX_PRESENCE_LOCALPART "presence_daemon"

/* The list of rooms has a place in the file for so many people. */
bool dc_matrix_presence_wants_rooms(int64_t people);

struct dc_matrix_presence_config {
    int64_t people;
    struct dc_slice observer; /* the daemon: @presence_daemon:example.org */
    const struct dc_slice *room_ids;
    size_t n_room_ids;
};
/* Appends the file. DC_INVALID: the observer or a room has an id that is none. */
DC_MUST_USE enum dc_status dc_matrix_presence_text(const struct dc_matrix_presence_config *config,
                                                   struct dc_strbuf *out, struct dc_error *err);
/* Writes it into a directory that is there, mode 0600, instead of an earlier one, which stays whole
 * until then; appends its path. DC_CONFIG names the path. */
DC_MUST_USE enum dc_status dc_matrix_presence_write(const char *dir_z, struct dc_slice text,
                                                    struct dc_strbuf *path, struct dc_error *err);

#endif
