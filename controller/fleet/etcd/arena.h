/* SPDX-License-Identifier: MPL-2.0 */
/* Memory for one unpacked message, freed as a whole. It has a maximum, because a short message can
 * unpack to many times its size. A NUL follows each piece. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct arena;

struct arena *arena_new(size_t n_message); /* the message's size */
void arena_free(struct arena *arena);      /* NULL is fine */
bool arena_is_full(const struct arena *arena);

/* The functions of protobuf-c's allocator. NULL: the arena is full. */
void *arena_alloc_for(void *arena, size_t n);
void arena_free_nothing(void *arena, void *p);
