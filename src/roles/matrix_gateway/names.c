/* Names that people bear in rooms. */
#include "roles/matrix_gateway/names.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/strbuf.h"

struct entry {
    struct dc_list link;  /* of names->order: heard longest ago first */
    struct dc_strbuf key; /* room id, line feed, user id: neither has a control character */
    struct dc_strbuf name;
};

struct dc_gateway_names {
    struct dc_map by_key;
    struct dc_list order;
    size_t max_names;
};

struct dc_gateway_names *dc_gateway_names_create(size_t max_names)
{
    struct dc_gateway_names *names = dc_calloc(1, sizeof(*names));
    uint64_t seed[2];
    dc_random_fill(NULL, seed, sizeof(seed));
    dc_map_init(&names->by_key, seed);
    dc_list_init(&names->order);
    names->max_names = max_names;
    return names;
}

static void forget(struct dc_gateway_names *names, struct entry *e)
{
    (void)dc_map_remove(&names->by_key, dc_strbuf_slice(&e->key));
    dc_list_remove(&e->link);
    dc_strbuf_free(&e->key);
    dc_strbuf_free(&e->name);
    dc_free(e);
}

void dc_gateway_names_destroy(struct dc_gateway_names *names)
{
    if (names == NULL) {
        return;
    }
    while (!dc_list_is_empty(&names->order)) {
        forget(names, DC_LIST_ENTRY(names->order.next, struct entry, link));
    }
    dc_map_free(&names->by_key);
    dc_free(names);
}

static void write_key(struct dc_strbuf *out, struct dc_slice room_id, struct dc_slice user_id)
{
    dc_strbuf_add(out, room_id);
    dc_strbuf_add_char(out, '\n');
    dc_strbuf_add(out, user_id);
}

static struct entry *find(struct dc_gateway_names *names, struct dc_slice room_id,
                          struct dc_slice user_id)
{
    struct dc_strbuf key = {0};
    write_key(&key, room_id, user_id);
    struct entry *e = dc_strbuf_ok(&key) ? dc_map_get(&names->by_key, dc_strbuf_slice(&key)) : NULL;
    dc_strbuf_free(&key);
    if (e != NULL) {
        dc_list_remove(&e->link);
        dc_list_push_back(&names->order, &e->link);
    }
    return e;
}

void dc_gateway_names_put(struct dc_gateway_names *names, struct dc_slice room_id,
                          struct dc_slice user_id, struct dc_slice name)
{
    struct entry *e = find(names, room_id, user_id);
    if (e == NULL) {
        if (names->by_key.count >= names->max_names) {
            forget(names, DC_LIST_ENTRY(names->order.next, struct entry, link));
        }
        e = dc_calloc(1, sizeof(*e));
        write_key(&e->key, room_id, user_id);
        if (!dc_strbuf_ok(&e->key)) {
            dc_strbuf_free(&e->key);
            dc_free(e);
            return;
        }
        dc_list_init(&e->link);
        dc_list_push_back(&names->order, &e->link);
        (void)dc_map_put(&names->by_key, dc_strbuf_slice(&e->key), e);
    }
    dc_strbuf_clear(&e->name);
    dc_strbuf_add(&e->name, name);
    if (!dc_strbuf_ok(&e->name)) {
        forget(names, e);
    }
}

struct dc_slice dc_gateway_names_get(struct dc_gateway_names *names, struct dc_slice room_id,
                                     struct dc_slice user_id)
{
    const struct entry *e = find(names, room_id, user_id);
    return e == NULL ? DC_SLICE_NULL : dc_strbuf_slice(&e->name);
}
