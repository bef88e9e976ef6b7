/* Which subscriptions want a subject.  Exact subjects are found in a map and patterns in a trie of
 * tokens, so the cost of a lookup is that of the subject's length and of the answer, whatever the
 * number of subscriptions. */
#ifndef DC_BUS_BUS_INDEX_H
#define DC_BUS_BUS_INDEX_H

#include "base/list.h"
#include "base/map.h"

struct dc_bus_node;

struct dc_bus_index {
    struct dc_map exact; /* subject -> struct dc_bus_node without children */
    struct dc_bus_node *root;
    uint64_t seed[2];
};

/* A member of its owner, who keeps it in at most one index. */
struct dc_bus_entry {
    struct dc_list link;
    struct dc_bus_node *node; /* NULL: in no index */
};

void dc_bus_index_init(struct dc_bus_index *ix, const uint64_t seed[2]);
/* Must be empty. */
void dc_bus_index_free(struct dc_bus_index *ix);
/* pattern must be valid; it is copied. */
void dc_bus_index_add(struct dc_bus_index *ix, struct dc_bus_entry *e, struct dc_slice pattern);
/* Harmless for an entry that is in no index. */
void dc_bus_index_remove(struct dc_bus_index *ix, struct dc_bus_entry *e);
/* fn runs for every entry whose pattern matches, each once; it must not change the index. */
void dc_bus_index_match(const struct dc_bus_index *ix, struct dc_slice subject,
                        void (*fn)(void *data, struct dc_bus_entry *e), void *data);

#endif
