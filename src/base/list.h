/* Intrusive doubly linked list: links are members of their owner.  A link that is in no list points
 * to itself, so removing twice is harmless. */
#ifndef DC_BASE_LIST_H
#define DC_BASE_LIST_H

#include "base/attr.h"
#include <stdbool.h>

struct dc_list {
    struct dc_list *prev, *next;
};

static inline void dc_list_init(struct dc_list *l)
{
    l->prev = l;
    l->next = l;
}

static inline bool dc_list_is_empty(const struct dc_list *l)
{
    return l->next == l;
}

/* node must be in no list. */
static inline void dc_list_push_back(struct dc_list *head, struct dc_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void dc_list_push_front(struct dc_list *head, struct dc_list *node)
{
    dc_list_push_back(head->next, node);
}

static inline void dc_list_remove(struct dc_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    dc_list_init(node);
}

/* Moves everything from *from to the end of *to: detach a list before calling out. */
static inline void dc_list_move_all(struct dc_list *to, struct dc_list *from)
{
    if (dc_list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    dc_list_init(from);
}

#define DC_LIST_ENTRY(node, type, member) DC_CONTAINER_OF(node, type, member)

#define DC_LIST_FOREACH(it, head) /* NOLINTNEXTLINE(bugprone-macro-parentheses): a name */         \
    for (struct dc_list *it = (head)->next; it != (head); it = it->next)
/* The current node may be removed (but no other). */
#define DC_LIST_FOREACH_SAFE(it, head) /* NOLINTNEXTLINE(bugprone-macro-parentheses): a name */    \
    for (struct dc_list *it = (head)->next, *it##_next = it->next; it != (head);                   \
         (it) = it##_next, it##_next = (it)->next)

#endif
