/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/name_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"

enum { FIRST_CAPACITY = 16 };

/* FNV-1a. Names come from the user's own VMFiles, so nobody is there to attack the hash. */
static uint32_t hash_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
        hash = (hash ^ *c) * 16777619u;
    }
    return hash;
}

/* The slot that holds `name`, or the free one where it would go. */
static size_t name_map_find(const struct name_map *map, const char *name, uint32_t hash)
{
    size_t at = hash & (map->capacity - 1);
    while (map->slots[at].name &&
           (map->slots[at].hash != hash || strcmp(map->slots[at].name, name) != 0)) {
        at = (at + 1) & (map->capacity - 1);
    }
    return at;
}

void *name_map_get(const struct name_map *map, const char *name)
{
    if (map->count == 0) {
        return NULL;
    }
    const struct name_map_slot *slot = &map->slots[name_map_find(map, name, hash_of(name))];
    return slot->name ? slot->value : NULL;
}

static void grow(struct name_map *map)
{
    struct name_map old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : FIRST_CAPACITY;
    map->slots = mem_calloc(map->capacity, sizeof(*map->slots));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.slots[i].name) {
            map->slots[name_map_find(map, old.slots[i].name, old.slots[i].hash)] = old.slots[i];
        }
    }
    free(old.slots);
}

void name_map_add(struct name_map *map, const char *name, void *value)
{
    if ((map->count + 1) * 4 > map->capacity * 3) {
        grow(map);
    }
    uint32_t hash = hash_of(name);
    struct name_map_slot *slot = &map->slots[name_map_find(map, name, hash)];
    assert(!slot->name);
    *slot = (struct name_map_slot){.name = name, .value = value, .hash = hash};
    map->count++;
}

/* Moves later slots of the run into the hole at `at` unless they would pass their home. */
static void close_hole(struct name_map *map, size_t at)
{
    size_t mask = map->capacity - 1;
    for (size_t next = (at + 1) & mask; map->slots[next].name; next = (next + 1) & mask) {
        size_t home = map->slots[next].hash & mask;
        if (((next - home) & mask) >= ((next - at) & mask)) {
            map->slots[at] = map->slots[next];
            at = next;
        }
    }
    map->slots[at] = (struct name_map_slot){0};
}

void *name_map_remove(struct name_map *map, const char *name)
{
    if (map->count == 0) {
        return NULL;
    }
    size_t at = name_map_find(map, name, hash_of(name));
    void *value = map->slots[at].name ? map->slots[at].value : NULL;
    if (value) {
        close_hole(map, at);
        map->count--;
    }
    return value;
}

void name_map_clear(struct name_map *map)
{
    free(map->slots);
    *map = (struct name_map){0};
}
