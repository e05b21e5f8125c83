/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/workqueue.h"

#include <assert.h>
#include <stdlib.h>

#include "controller/loop/loop.h"
#include "controller/queue/name_map.h"
#include "specs/base/mem.h"

#define NO_DUE ((int64_t)-1)

/*
 *            add()            add_at()          take()        done()
 * (absent)   READY            DELAYED           -             -
 * DELAYED    READY            earliest counts   READY if due  -
 * READY      highest counts   stays             PROCESSING    -
 * PROCESSING marked dirty     remembered        -             READY if dirty, else DELAYED if a
 *                                                             time is remembered, else absent
 */
enum place { PLACE_READY, PLACE_DELAYED, PLACE_PROCESSING };

struct entry {
    struct key key;
    char *name; /* the key's */
    enum place place;
    enum work_priority priority;   /* of what is queued, or pending while processing */
    bool is_dirty;                 /* added while processing */
    int64_t due_ms;                /* delayed, or pending while processing; else NO_DUE */
    uint64_t sequence;             /* among equal times, first in first out */
    size_t heap_index;             /* while delayed */
    struct entry *next, *previous; /* while ready */
};

struct fifo {
    struct entry *head, *tail;
};

struct workqueue {
    struct name_map entries[KEY_KIND_COUNT_];
    struct fifo ready[WORK_PRIORITY_COUNT_];
    size_t n_ready;
    struct entry **heap; /* delayed entries, the earliest first */
    size_t n_delayed;
    uint64_t last_sequence;

    struct loop *loop; /* NULL, as the timer: it is not served */
    struct loop_timer *timer;
    void (*work)(void *context);
    void *context;
    bool is_held;
};

/* ---- ready: one list a priority ---- */

static void fifo_append(struct workqueue *queue, struct entry *entry)
{
    struct fifo *fifo = &queue->ready[entry->priority];
    entry->place = PLACE_READY;
    entry->due_ms = NO_DUE;
    entry->next = NULL;
    entry->previous = fifo->tail;
    *(fifo->tail ? &fifo->tail->next : &fifo->head) = entry;
    fifo->tail = entry;
    queue->n_ready++;
}

static void fifo_remove(struct workqueue *queue, struct entry *entry)
{
    struct fifo *fifo = &queue->ready[entry->priority];
    *(entry->previous ? &entry->previous->next : &fifo->head) = entry->next;
    *(entry->next ? &entry->next->previous : &fifo->tail) = entry->previous;
    queue->n_ready--;
}

/* ---- delayed: a binary heap ---- */

static bool is_earlier(const struct entry *a, const struct entry *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->sequence < b->sequence;
}

static void heap_set(struct workqueue *queue, size_t index, struct entry *entry)
{
    queue->heap[index] = entry;
    entry->heap_index = index;
}

static void heap_up(struct workqueue *queue, size_t index)
{
    struct entry *entry = queue->heap[index];
    while (index > 0 && is_earlier(entry, queue->heap[(index - 1) / 2])) {
        heap_set(queue, index, queue->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    heap_set(queue, index, entry);
}

static void heap_down(struct workqueue *queue, size_t index)
{
    struct entry *entry = queue->heap[index];
    for (;;) {
        size_t child = index * 2 + 1;
        if (child + 1 < queue->n_delayed &&
            is_earlier(queue->heap[child + 1], queue->heap[child])) {
            child++;
        }
        if (child >= queue->n_delayed || !is_earlier(queue->heap[child], entry)) {
            break;
        }
        heap_set(queue, index, queue->heap[child]);
        index = child;
    }
    heap_set(queue, index, entry);
}

static void heap_add(struct workqueue *queue, struct entry *entry, int64_t due_ms)
{
    entry->place = PLACE_DELAYED;
    entry->due_ms = due_ms;
    entry->sequence = ++queue->last_sequence;
    mem_grow(queue->heap, queue->n_delayed);
    queue->n_delayed++;
    heap_set(queue, queue->n_delayed - 1, entry);
    heap_up(queue, entry->heap_index);
}

static void heap_remove(struct workqueue *queue, struct entry *entry)
{
    size_t index = entry->heap_index;
    struct entry *last = queue->heap[--queue->n_delayed];
    if (last != entry) {
        heap_set(queue, index, last);
        heap_up(queue, index);
        heap_down(queue, last->heap_index);
    }
}

/* ---- the timer ---- */

static void set_timer(struct workqueue *queue)
{
    if (!queue->timer || queue->is_held) {
        return;
    }
    int64_t now_ms = loop_now_ms(queue->loop);
    int64_t due_ms = workqueue_next_due(queue, now_ms);
    if (due_ms < 0) {
        loop_timer_stop(queue->timer);
    } else {
        loop_timer_start(queue->timer, due_ms - now_ms);
    }
}

void workqueue_hold(struct workqueue *queue, bool is_held)
{
    queue->is_held = is_held;
    set_timer(queue);
}

static void on_timer(void *context)
{
    struct workqueue *queue = context;
    workqueue_hold(queue, true);
    queue->work(queue->context);
    workqueue_hold(queue, false);
}

void workqueue_serve(
    struct workqueue *queue, struct loop *loop, void (*work)(void *context), void *context)
{
    queue->loop = loop;
    queue->timer = loop_timer_new(loop, on_timer, queue);
    queue->work = work;
    queue->context = context;
    set_timer(queue);
}

void workqueue_stop_serving(struct workqueue *queue)
{
    loop_timer_free(queue->timer);
    queue->timer = NULL;
}

/* ---- the queue ---- */

struct workqueue *workqueue_new(void)
{
    return mem_new(struct workqueue);
}

static void entry_free(struct entry *entry)
{
    free(entry->name);
    free(entry);
}

void workqueue_free(struct workqueue *queue)
{
    if (!queue) {
        return;
    }
    for (int kind = 0; kind < KEY_KIND_COUNT_; kind++) {
        struct name_map *entries = &queue->entries[kind];
        for (size_t i = 0; i < entries->capacity; i++) {
            if (entries->slots[i].name) {
                entry_free(entries->slots[i].value);
            }
        }
        name_map_clear(entries);
    }
    loop_timer_free(queue->timer);
    free(queue->heap);
    free(queue);
}

static struct entry *add_entry(struct workqueue *queue, struct key key)
{
    struct entry *entry = mem_new(struct entry);
    entry->name = mem_strdup(key.name);
    entry->key = key_of(key.kind, entry->name);
    entry->due_ms = NO_DUE;
    name_map_add(&queue->entries[key.kind], entry->name, entry);
    return entry;
}

static enum work_priority highest(enum work_priority a, enum work_priority b)
{
    return a > b ? a : b;
}

void workqueue_add(struct workqueue *queue, struct key key, enum work_priority priority)
{
    struct entry *entry = name_map_get(&queue->entries[key.kind], key.name);
    if (!entry) {
        entry = add_entry(queue, key);
        entry->priority = priority;
        fifo_append(queue, entry);
    } else if (entry->place == PLACE_READY) {
        if (priority > entry->priority) { /* it goes behind those that already had the priority */
            fifo_remove(queue, entry);
            entry->priority = priority;
            fifo_append(queue, entry);
        }
    } else if (entry->place == PLACE_DELAYED) {
        heap_remove(queue, entry);
        entry->priority = highest(entry->priority, priority);
        fifo_append(queue, entry);
    } else {
        entry->priority = entry->is_dirty ? highest(entry->priority, priority) : priority;
        entry->is_dirty = true;
    }
    set_timer(queue);
}

void workqueue_add_at(struct workqueue *queue, struct key key, int64_t due_ms)
{
    assert(due_ms >= 0);
    struct entry *entry = name_map_get(&queue->entries[key.kind], key.name);
    if (!entry) {
        entry = add_entry(queue, key);
        entry->priority = WORK_RETRY;
        heap_add(queue, entry, due_ms);
    } else if (entry->place == PLACE_DELAYED && due_ms < entry->due_ms) {
        entry->due_ms = due_ms;
        heap_up(queue, entry->heap_index);
    } else if (entry->place == PLACE_PROCESSING &&
               (entry->due_ms == NO_DUE || due_ms < entry->due_ms)) {
        entry->due_ms = due_ms;
    }
    set_timer(queue);
}

struct key workqueue_take(struct workqueue *queue, int64_t now_ms)
{
    while (queue->n_delayed > 0 && queue->heap[0]->due_ms <= now_ms) {
        struct entry *due = queue->heap[0];
        heap_remove(queue, due);
        fifo_append(queue, due);
    }
    for (int priority = WORK_PRIORITY_COUNT_ - 1; priority >= 0; priority--) {
        struct entry *entry = queue->ready[priority].head;
        if (entry) {
            fifo_remove(queue, entry);
            entry->place = PLACE_PROCESSING;
            entry->is_dirty = false;
            return entry->key;
        }
    }
    return key_of(KEY_VM, NULL);
}

void workqueue_done(struct workqueue *queue, struct key key)
{
    struct entry *entry = name_map_get(&queue->entries[key.kind], key.name);
    assert(entry && entry->place == PLACE_PROCESSING);
    if (entry->is_dirty) {
        fifo_append(queue, entry);
    } else if (entry->due_ms != NO_DUE) {
        entry->priority = WORK_RETRY;
        heap_add(queue, entry, entry->due_ms);
    } else {
        name_map_remove(&queue->entries[key.kind], key.name);
        entry_free(entry);
    }
    set_timer(queue);
}

int64_t workqueue_next_due(const struct workqueue *queue, int64_t now_ms)
{
    if (queue->n_ready > 0) {
        return now_ms;
    }
    if (queue->n_delayed == 0) {
        return -1;
    }
    return queue->heap[0]->due_ms > now_ms ? queue->heap[0]->due_ms : now_ms;
}

size_t workqueue_length(const struct workqueue *queue)
{
    return queue->n_ready + queue->n_delayed;
}
