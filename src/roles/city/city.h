/* city-service: rooms, messages, feed, their sockets, and the presence gateway to browsers
 * (specs/city-backend §4-5, global-presence §6).  What the files of this role share.
 *
 * One message: routes_messages.c or stream_room.c (validate) -> messages.c (a batch of the repo) ->
 * commit -> acknowledged; by the relay (src/relay) on the bus as city.chat.<room> -> chat.c -> the
 * room's LOG topic -> sockets.
 * One heartbeat: stream_presence.c -> sessions.c (kv lease key, city.session on the bus) -> the
 * presence aggregator -> city.presence.* -> people.c (the gateway's view) -> STATE topics ->
 * sockets.
 * Both ways lead over the bus, so that they are the same with one process and with many. */
#ifndef DC_ROLES_CITY_CITY_H
#define DC_ROLES_CITY_CITY_H

#include "base/ulid.h"
#include "net/places.h"
#include "net/rate_limit.h"
#include "roles/role.h"

struct dc_city_rooms;      /* rooms.h: every room of the city, in memory */
struct dc_city_people;     /* people.h: who is online, as published by the aggregator */
struct dc_catch_up;        /* catch_up.h: what was committed unheard */
struct dc_city_pages;      /* pages.h: sockets by the browser's page that holds them */
struct dc_city_sessions;   /* sessions.h: sockets of this process that stand for people */
struct dc_feed;            /* feed.h: events that sockets have been given */
struct dc_relay;           /* relay/relay.h: from commits to the bus */
struct dc_matrix_outgoing; /* matrix_outgoing.h: what is to be said in Matrix rooms */
struct dc_matrix_moves;    /* matrix_moves.h: Matrix rooms that have been replaced */
struct dc_peer;            /* roles/peer.h: another role's internal interface */

struct dc_city {
    struct dc_ctx *ctx;
    struct dc_slice epoch; /* of the database's history; names message positions */
    char epoch_text[41];
    bool is_loaded; /* rooms have been read; until then requests get 503 */
    struct dc_ulid_gen ids;
    char gateway_id[DC_ULID_LEN + 1]; /* this process, in session ids */
    uint64_t next_session;
    struct dc_city_rooms *rooms;
    struct dc_city_people *people;
    struct dc_catch_up *catch_up; /* once loaded */
    struct dc_city_sessions *sessions;
    struct dc_city_pages *pages;
    struct dc_topic *feed; /* LOG: feed events for sockets that asked for them */
    struct dc_feed *feed_seen;
    struct dc_relay *relay;
    struct dc_bus_sub *live_sub, *chat_sub, *event_sub;
    struct dc_peer *gateway;             /* matrix_link.h; NULL: no homeserver */
    struct dc_matrix_outgoing *outgoing; /* once loaded; NULL: no homeserver */
    struct dc_matrix_moves *moves;       /* likewise */
    /* matrix_incoming.c */
    struct dc_counter *matrix_stored, *matrix_known, *matrix_left_out, *matrix_elsewhere;
    struct dc_rate_limit *message_limit, *room_limit, *presence_limit, *lookup_limit;
    struct dc_places *sockets;               /* of users */
    const struct dc_http_request *looked_up; /* lookup.c: its room has just been asked for */
    struct dc_counter *duplicate_messages, *duplicate_events;
    size_t pending; /* operations whose callbacks have not run yet: stop waits for them */
    bool is_stopping, is_ending, is_relay_closed;
    void (*ready)(void *data);
    void *ready_data;
    void (*stopped)(void *data);
    void *stopped_data;
    size_t ensuring; /* default rooms on their way to the database */
    bool ensure_has_failed;
    struct dc_timer retry; /* loading again after a failure */
    struct dc_backoff retry_backoff;
};

/* prefix + ULID; out has room for 9 + 26 + 1 characters. */
#define DC_CITY_ID_MAX 40
void dc_city_new_id(struct dc_city *city, const char *prefix_z, char out[DC_CITY_ID_MAX]);

/* Every operation that calls back into this role is counted, so that stop can wait.  end may free
 * the city: it is the last thing that a callback does. */
void dc_city_pending_begin(struct dc_city *city);
void dc_city_pending_end(struct dc_city *city);
/* Submits for a request; cb is to call dc_city_pending_end. On failure the request is answered and
 * cb never runs. */
void dc_city_submit(struct dc_city *city, struct dc_http_request *r, struct dc_db_batch *b,
                    dc_db_cb cb, void *data);

/* Answers 503 when nothing is loaded yet. */
bool dc_city_is_ready(struct dc_city *city, struct dc_http_request *r);
/* For what everybody may read: the city is ready and the token, if there is one, is valid; else 503
 * or 401 has been answered. Writes ask dc_require_identity instead. */
bool dc_city_may_read(struct dc_city *city, struct dc_http_request *r);
/* The room of path parameter 0 (id or slug).  NULL: 503, 404 room_not_found or 429 (a handshake:
 * close code 4404 or 4429) has been answered, or the database is asked for a room that another
 * process may have made a moment ago; then `again`, the handler itself, is called once more. */
struct dc_city_room;
struct dc_city_room *dc_city_room_of(struct dc_city *city, struct dc_http_request *r,
                                     void (*again)(void *city, struct dc_http_request *r));
/* The same for a name that stands elsewhere in the request. */
struct dc_city_room *dc_city_room_named(struct dc_city *city, struct dc_http_request *r,
                                        struct dc_slice name,
                                        void (*again)(void *city, struct dc_http_request *r));
/* Before a request is refused for what the room has not: another process may have given it that a
 * moment ago.  False: 429 or another error has been answered, or the database is asked, and `again`
 * called once more; then it is true. */
bool dc_city_room_is_fresh(struct dc_city *city, struct dc_http_request *r,
                           const struct dc_city_room *room,
                           void (*again)(void *city, struct dc_http_request *r));

/* Each file of routes registers its own table. */
void dc_city_routes_rooms(struct dc_city *city);
void dc_city_routes_archive(struct dc_city *city);
void dc_city_routes_backfill(struct dc_city *city);
void dc_city_routes_chat(struct dc_city *city);
void dc_city_routes_matrix(struct dc_city *city);
void dc_city_routes_moves(struct dc_city *city);
void dc_city_routes_messages(struct dc_city *city);
void dc_city_routes_feed(struct dc_city *city);
void dc_city_routes_pages(struct dc_city *city);
void dc_city_routes_presence(struct dc_city *city);
void dc_city_stream_room_routes(struct dc_city *city);
void dc_city_stream_presence_routes(struct dc_city *city);
/* Under /api always, natively when this role runs alone. */
void dc_city_add_routes(struct dc_city *city, const struct dc_route *routes, size_t n);

#endif
