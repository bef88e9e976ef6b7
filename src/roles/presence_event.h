/* What the presence aggregator tells gateways on the bus, and how a gateway knows that it has all
 * of it.  Payloads are one JSON object each.
 *
 * Kept by the stream CITY_PRESENCE, the last of each subject:
 *   city.presence.room.<slug>   throttled state of a room: counts, who types, a sample of people
 *   city.presence.user.<id>     status of a person; of one with a Matrix client alone, on our own
 *                               homeserver, by the local part of his Matrix id
 *   city.presence.city          totals
 *       Of people and rooms with Matrix: "matrix_user_id", "matrix_room_id", "matrix_room_alias".
 *       "heard_ts", "changed_ts" (UTC ms): when the homeserver's change that this is about was
 * heard and, if that is known, when it happened; only in what is said at once because of it.
 *   city.presence.user.%, city.presence.room.%   "synced", see below ("%" is nobody's token)
 * Plain, for who listens now:
 *   city.member.<room>          {"change":"joined"|"left"|"status", …} one person in a room;
 *                               {"change":"set","members":[…],"last"} all of them, in parts
 *   city.member.%               "synced"
 *   city.typing.<room>          who types
 *   city.presence.leader        the leader's sign of life
 *   city.presence.resync        from a gateway: I have missed something
 *   city.presence.call.<who>    of an aggregator to itself: whoever does not hear it is deaf
 *
 * Two numbers go with everything that the leader says:
 *   term  whose word it is: the fencing token of the leader's lease.  On each subscription the
 *         highest term counts; a lower one is a former leader's and is ignored.
 *   gen   the generation: a number that grows with every resynchronisation.  Rooms and users have
 *         one, members have one.
 *
 * Resynchronisation.  The leader says everything that is (with the new gen), then "synced" with
 * that gen on the same pattern of subjects, so behind all of it.  Whatever a gateway knows with a
 * lower gen is gone: the leader has not said it again.  Until then the gateway keeps what it had
 * and calls it stale; unknown is not offline.  A gateway that starts reads the last of every
 * subject, "synced" among them, and is right at once, ghosts left out.
 *   - A new leader reads the stream and says only what differs, with the gen it has found there:
 *     its "synced" removes nothing new.  Members are said in full, since no stream keeps them.
 *   - After an interruption (the stream was deleted, the connection lost) rooms, users and members
 *     are said in full.  The leader notices by itself, and gateways ask.
 *
 * city.presence.resync {"from","term","gen","member_gen","full"} asks for members, and if full for
 * rooms and users too; the numbers are the highest that the gateway has heard: a leader that holds
 * the lease and finds itself behind them goes on above them, so that nothing that was lost (the
 * store's tokens, the stream) can lock it out.  With "room_id" it asks for the members of one room.
 *
 * city.presence.leader {"term","holder","state":"starting"|"leading"|"leaving","source":"fresh"|
 * "stale"|"down","every_ms","sent_ms"}. */
#ifndef DC_ROLES_PRESENCE_EVENT_H
#define DC_ROLES_PRESENCE_EVENT_H

#include "base/json.h"
#include "conf/conf.h"

/* The token of markers: what dc_bus_token() makes of an empty text. */
#define DC_PRESENCE_MARKER "%"

#define DC_PRESENCE_SYNCED   "presence.synced"
#define DC_PRESENCE_LEADER   "city.presence.leader"
#define DC_PRESENCE_RESYNC   "city.presence.resync"
#define DC_PRESENCE_ANNOUNCE "city.presence.announce"

/* "state" of a leader. */
#define DC_LEADER_STARTING "starting"
#define DC_LEADER_LEADING  "leading"
#define DC_LEADER_LEAVING  "leaving"

/* A leader that is not heard for so many leases of leadership is gone, and what it said is stale.
 */
#define DC_PRESENCE_SILENT_LEASES 2

/* A term or a generation; 0: there is none.  Readers of JSON elsewhere have 53 bits: above that it
 * is nobody's. */
static inline int64_t dc_presence_number(const json_t *object, const char *key_z)
{
    json_int_t v = json_integer_value(json_object_get(object, key_z));
    return v > 0 && v < INT64_C(1) << 53 ? (int64_t)v : 0;
}

/* As set, or the option's default where settings have been made without the table. */
static inline int64_t dc_presence_leader_lease_ms(const struct dc_settings *s)
{
    return s->presence_leader_lease_ms > 0 ? s->presence_leader_lease_ms : 5000;
}

#endif
