/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A hash map from names to pointers: open addressing, linear probing, deletion by shifting back, so
 * that there are no tombstones to clear. Keys are borrowed: they live in what they point to.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct name_map {
    struct name_map_slot {
        const char *name; /* borrowed from the value; NULL: a free slot */
        void *value;
        uint32_t hash;
    } * slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void *name_map_get(const struct name_map *map, const char *name); /* NULL: not there */
/* `name` must not be there yet, and must live as long as it is. */
void name_map_add(struct name_map *map, const char *name, void *value);
void *name_map_remove(struct name_map *map, const char *name); /* what was there, or NULL */
/* Frees the table, not the values. */
void name_map_clear(struct name_map *map);
