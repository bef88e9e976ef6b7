/* What gateways (city-service) tell the presence aggregators on the bus, subject
 * city.session.<gateway>, one JSON object each:
 *
 *   {"op":"beat","session_id","user_id","username"?,"status","room_id"?,"room_slug"?}
 *       The session is alive, and in this room if one is named: a beat carries all that is known of
 *       the session, so that whatever was lost on the way is mended by the next one.
 *   {"op":"announce", …}   the same as an answer to city.presence.announce: it makes a session that
 *       the hearer does not know, and does not renew one that he knows, since nobody has beaten
 *       (unless the hearer has just been deaf: then beats have been lost, and it counts as one)
 *   {"op":"leave"|"typing"|"typing_stop", …, "room_id","room_slug"}
 *   {"op":"close", …}   its socket is gone: it ends after the grace
 *   {"op":"room", …, "room_id","room_slug"}   a room exists; session_id and user_id are "-"
 *
 * Gateways tell each other city.presence.left {"from","user_id","page"}: that page of his has been
 * closed (roles/city/pages.h).
 *
 * Every aggregator hears all of it, leading or not.  Any of them asks for it anew by
 * city.presence.announce {"from":<who>}; the leader answers too, for the sessions that no gateway
 * beats for (DC_HTTP_SESSION_PREFIX). */
#ifndef DC_ROLES_SESSION_EVENT_H
#define DC_ROLES_SESSION_EVENT_H

#include "domain/presence.h"

/* The session of those who join over HTTP: this and the user_id, so it is one for each user
 * whatever gateway he asks. Nobody beats for it: the aggregator renews it with any other session of
 * him. */
#define DC_HTTP_SESSION_PREFIX "http-"

#define DC_PRESENCE_LEFT "city.presence.left"

/* The words of "status". A passive session says that somebody is there and nothing of what he does
 * (domain/presence.h); DC_PRESENCE_OFFLINE is its name in the core. */
#define DC_SESSION_STATUS_ONLINE  "online"
#define DC_SESSION_STATUS_AWAY    "away"
#define DC_SESSION_STATUS_PASSIVE "passive"

#endif
