/* IP addresses as text: lists of trusted ones, and whose request it is when proxies stand in
 * between. Pure: nothing is looked up. */
#ifndef DC_BASE_ADDRESS_H
#define DC_BASE_ADDRESS_H

#include "base/slice.h"

#define DC_ADDRESS_MAX 46 /* text of an address, with NUL */

/* Comma-separated addresses and prefixes: "127.0.0.1, 10.0.0.0/8, fd00::/8". */
bool dc_address_list_is_valid(struct dc_slice list);

/* On such a list, or under one of its prefixes; false for what is no address. */
bool dc_address_is_listed(struct dc_slice address, struct dc_slice list);

/* Walks X-Forwarded-For from its end, where the nearest proxy wrote: the first address that is not
 * on the list of trusted proxies is the client's.  A word that is no address ends the walk: what
 * stands before it is anybody's claim.  peer: the socket's address; an empty list trusts nobody.
 * Writes the client's address in its usual form (IPv4 also when it came as ::ffff:a.b.c.d) and
 * returns its length; 0 when peer is no address. */
size_t dc_address_of_client(struct dc_slice peer, struct dc_slice forwarded_for,
                            struct dc_slice trusted, char out[DC_ADDRESS_MAX]);

#endif
