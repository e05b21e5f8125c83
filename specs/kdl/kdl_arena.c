/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/kdl/kdl_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"

/* Small documents take one chunk; large ones few, as each chunk is twice the one before. */
#define FIRST_CHUNK ((size_t)4 << 10)
#define LARGEST_CHUNK ((size_t)1 << 20)

struct kdl_arena_chunk {
    struct kdl_arena_chunk *next;
    alignas(max_align_t) char bytes[];
};

static void add_chunk(struct kdl_arena *arena, size_t need)
{
    size_t size = arena->size ? arena->size * 2 : FIRST_CHUNK;
    size = size > LARGEST_CHUNK ? LARGEST_CHUNK : size;
    size = size < need ? need : size;
    struct kdl_arena_chunk *chunk = mem_resize(NULL, sizeof(*chunk) + size, 1);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->size = size;
    arena->used = 0;
}

char *kdl_arena_text(struct kdl_arena *arena, size_t size)
{
    if (size > arena->size - arena->used) {
        add_chunk(arena, size);
    }
    char *p = arena->chunks->bytes + arena->used;
    arena->used += size;
    return p;
}

void *kdl_arena_dup(struct kdl_arena *arena, const void *p, size_t size)
{
    size_t unaligned = arena->used % alignof(max_align_t);
    size_t padding = unaligned ? alignof(max_align_t) - unaligned : 0;
    /* A fresh chunk is aligned, so the padding is only taken where it fits. */
    arena->used = padding <= arena->size - arena->used ? arena->used + padding : arena->size;
    return memcpy(kdl_arena_text(arena, size), p, size);
}

void kdl_arena_clear(struct kdl_arena *arena)
{
    while (arena->chunks) {
        struct kdl_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    *arena = (struct kdl_arena){0};
}
