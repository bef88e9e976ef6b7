/* Pages of a browser: the sockets that one tab holds, by a key that the tab has made up.
 *
 * A tab that is closed says so by a keep-alive request (POST /city/presence/leave): its sockets may
 * be dead without anybody knowing (a phone that changes networks), or on another process, and would
 * keep its person here for a lease.  Its sessions begin their grace then, exactly as if the sockets
 * had closed: a page that is only loaded again is back within the grace and nobody sees it go, a
 * second tab has a key of its own, and a page that lives on after all comes back with its next
 * beat.  Other processes hear it as city.presence.left (roles/session_event.h). */
#ifndef DC_ROLES_CITY_PAGES_H
#define DC_ROLES_CITY_PAGES_H

#include "roles/city/socket.h"

#define DC_PAGE_KEY_MAX 64

struct dc_city_pages;
DC_MUST_USE enum dc_status dc_pages_create(struct dc_city *city, struct dc_city_pages **out,
                                           struct dc_error *err);
/* All sockets have left. NULL is allowed. */
void dc_pages_destroy(struct dc_city_pages *pages);

/* key: as the client gave it; one that is none (empty, too long) is no page. */
void dc_page_enter(struct dc_city_pages *pages, struct dc_socket *s, struct dc_slice key);
/* Harmless for a socket that is on no page. */
void dc_page_leave(struct dc_city_pages *pages, struct dc_socket *s);

#endif
