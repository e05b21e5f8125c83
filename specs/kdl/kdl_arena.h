/* SPDX-License-Identifier: MPL-2.0 */
/* The memory of a document. It is released at once, so nothing walks the tree to free it. */
#pragma once

#include <stddef.h>

struct kdl_arena {
    struct kdl_arena_chunk *chunks; /* the newest first */
    size_t used;
    size_t size;
};

char *kdl_arena_text(struct kdl_arena *arena, size_t size);               /* not aligned */
void *kdl_arena_dup(struct kdl_arena *arena, const void *p, size_t size); /* aligned for objects */
void kdl_arena_clear(struct kdl_arena *arena);
