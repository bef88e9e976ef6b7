/* A presence core and its model side by side: ids of odd shapes, what the core reports written down
 * as the model writes it, and the comparison of everything that can be seen.  What differs fails
 * the test with the seed, the number of the operation and the operations before it. */
#ifndef TESTS_UNIT_DOMAIN_PRESENCE_RIG_H
#define TESTS_UNIT_DOMAIN_PRESENCE_RIG_H

#include "presence_model.h"

#define RIG_HISTORY 30

struct rig {
    struct dc_presence *core;
    struct model model;
    struct dc_strbuf log; /* of the core, same form as the model's */
    uint64_t seed, random;
    int64_t mono, utc;
    int64_t mono_before, utc_before; /* as the model knew them in the operation before */
    char history[RIG_HISTORY][96];
    size_t n_done;
    int crowd_room, crowd_left; /* everybody comes to one room, one operation after the other */
};

/* data: the rig. */
extern const struct dc_presence_callbacks rig_callbacks;

struct dc_slice rig_user(int u);
struct dc_slice rig_room(int r);
struct dc_slice rig_session(int s); /* until the next call */
/* No core accepts it. */
struct dc_slice rig_bad_id(int n);
int rig_user_index(struct dc_slice id);
int rig_room_index(struct dc_slice id);
/* Prefix and number. */
struct dc_slice rig_text(char *buf, size_t size, const char *prefix, int n);

/* What is done now, for the explanation. */
DC_PRINTF(2, 3) void rig_note(struct rig *g, const char *fmt, ...);
/* Fails if they differ. */
void rig_same(struct rig *g, const char *what, int64_t core, int64_t model);
void rig_compare_reports(struct rig *g);
void rig_compare_state(struct rig *g);

#endif
