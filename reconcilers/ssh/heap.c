/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/ssh/heap.h"

#include <stdalign.h>
#include <stdlib.h>

#include "specs/base/mem.h"

struct ssh_heap_block {
    struct ssh_heap_block *next, *previous;
    alignas(max_align_t) char bytes[];
};

static struct ssh_heap_block *block_of(void *p)
{
    return (struct ssh_heap_block *)(void *)((char *)p - offsetof(struct ssh_heap_block, bytes));
}

static void link_first(struct ssh_heap *heap, struct ssh_heap_block *block)
{
    block->previous = NULL;
    block->next = heap->first;
    if (block->next) {
        block->next->previous = block;
    }
    heap->first = block;
}

static void unlink_block(struct ssh_heap *heap, struct ssh_heap_block *block)
{
    if (block->previous) {
        block->previous->next = block->next;
    } else {
        heap->first = block->next;
    }
    if (block->next) {
        block->next->previous = block->previous;
    }
}

void *ssh_heap_alloc(struct ssh_heap *heap, size_t size)
{
    return ssh_heap_realloc(heap, NULL, size);
}

void *ssh_heap_realloc(struct ssh_heap *heap, void *p, size_t size)
{
    struct ssh_heap_block *block = p ? block_of(p) : NULL;
    if (block) {
        unlink_block(heap, block);
    }
    block = mem_resize(block, sizeof(*block) + size, 1);
    link_first(heap, block);
    return block->bytes;
}

void ssh_heap_free(struct ssh_heap *heap, void *p)
{
    if (p) {
        unlink_block(heap, block_of(p));
        free(block_of(p));
    }
}

void ssh_heap_clear(struct ssh_heap *heap)
{
    while (heap->first) {
        ssh_heap_free(heap, heap->first->bytes);
    }
}
