/* SPDX-License-Identifier: MPL-2.0 */
/* What the models of fleet_decide() share: the search of all states, and the wrong decisions that
 * both have to find. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/fleet/fleet_decide.h"
#include "specs/base/mem.h"

typedef enum fleet_action decide_fn(const struct fleet_situation *situation);

static const char *violation; /* the first one; NULL: none */

static inline void check(bool is_so, const char *words)
{
    if (!is_so && !violation) {
        violation = words;
    }
}

/* ---- the states ---- */

enum { SEARCH_TABLE_BITS = 20 };

/* Of states that consist of bytes only, so that two are compared and hashed as such. */
struct search {
    uint8_t *queue;
    size_t size; /* of a state */
    size_t count, capacity;
    uint32_t *table; /* of places in the queue, + 1 */
};

static inline struct search search_new(size_t size)
{
    return (struct search){
        .size = size, .table = mem_calloc((size_t)1 << SEARCH_TABLE_BITS, sizeof(uint32_t))};
}

static inline void search_free(struct search *search)
{
    free(search->queue);
    free(search->table);
}

static inline size_t search_hash(const uint8_t *state, size_t size)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ state[i]) * UINT64_C(1099511628211);
    }
    return (size_t)(hash >> 20) & (((size_t)1 << SEARCH_TABLE_BITS) - 1);
}

/* Copies the state out of the queue, which grows. */
static inline void search_get(const struct search *search, size_t at, void *ret)
{
    memcpy(ret, search->queue + at * search->size, search->size);
}

static inline void search_add(struct search *search, const void *state)
{
    size_t at = search_hash(state, search->size);
    for (; search->table[at]; at = (at + 1) & (((size_t)1 << SEARCH_TABLE_BITS) - 1)) {
        const uint8_t *known = search->queue + (search->table[at] - 1) * search->size;
        if (memcmp(known, state, search->size) == 0) {
            return;
        }
    }
    if (search->count == search->capacity) {
        search->capacity = search->capacity ? search->capacity * 2 : 1024;
        search->queue = mem_resize(search->queue, search->capacity, search->size);
    }
    memcpy(search->queue + search->count * search->size, state, search->size);
    search->table[at] = (uint32_t)++search->count;
    assert_true(search->count < (size_t)1 << (SEARCH_TABLE_BITS - 1));
}

/* ---- wrong decisions ---- */

static inline enum fleet_action marks_are_not_read(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.has_tombstone = false;
    return fleet_decide(&other);
}

static inline enum fleet_action what_is_ended_is_taken_up(const struct fleet_situation *s)
{
    struct fleet_situation other = *s;
    other.is_fenced = other.has_tombstone = false;
    return s->has_record && s->is_fenced ? fleet_decide(&other) : fleet_decide(s);
}
