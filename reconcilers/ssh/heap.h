/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Memory of one libssh2 session, so that all of it goes when the session goes: libssh2 1.10 loses
 * the buffers of a call that is abandoned half-way (an SFTP open that waits for its answer), and
 * vmctld abandons sessions all day.
 */
#pragma once

#include <stddef.h>

struct ssh_heap_block;

struct ssh_heap {
    struct ssh_heap_block *first;
};

void *ssh_heap_alloc(struct ssh_heap *heap, size_t size);
void *ssh_heap_realloc(struct ssh_heap *heap, void *p, size_t size);
void ssh_heap_free(struct ssh_heap *heap, void *p); /* NULL is fine */
void ssh_heap_clear(struct ssh_heap *heap);
