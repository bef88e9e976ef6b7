/* How patterns relate to each other; what the port offers to everybody is in bus.h. */
#ifndef DC_BUS_SUBJECTS_H
#define DC_BUS_SUBJECTS_H

#include "bus/bus.h"

/* Every subject that inner matches, outer matches too. */
bool dc_bus_pattern_contains(struct dc_slice outer, struct dc_slice inner);
/* Some subject matches both. */
bool dc_bus_pattern_overlaps(struct dc_slice a, struct dc_slice b);
bool dc_bus_pattern_is_exact(struct dc_slice pattern);

/* The stream of a subject; NULL: plain. */
const struct dc_bus_stream *dc_bus_stream_of_subject(const struct dc_bus_stream *streams, size_t n,
                                                     struct dc_slice subject);
/* The stream a pattern lies in; *out NULL: it touches none.  false: it touches one without lying in
 * it. */
DC_MUST_USE bool dc_bus_stream_of_pattern(const struct dc_bus_stream *streams, size_t n,
                                          struct dc_slice pattern,
                                          const struct dc_bus_stream **out);

#endif
