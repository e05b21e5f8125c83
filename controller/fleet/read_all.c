/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/parts.h"

#include <stdlib.h>
#include <string.h>

#include "controller/fleet/engine.h"
#include "controller/fleet/member.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

/* Of a page, a row having 1.3 KB mostly: far below ENGINE_ANSWER_MAX. */
enum { PAGE_ROWS = 5000 };

struct read_all {
    struct member *member;
    read_all_fn *done;
    void *context;
    struct op *op;
    struct engine_rows *pages;
    size_t n_pages; /* the last one is being read */
    struct engine_rows all;
};

void read_all_free(struct read_all *reading)
{
    if (reading) {
        op_cancel(reading->op);
        for (size_t i = 0; i < reading->n_pages; i++) {
            engine_rows_clear(&reading->pages[i]);
        }
        free(reading->pages);
        free(reading->all.rows);
        free(reading);
    }
}

/* Rows are borrowed from their pages. */
static void join_pages(struct read_all *reading)
{
    struct engine_rows *all = &reading->all;
    size_t n = 0;
    for (size_t i = 0; i < reading->n_pages; i++) {
        n += reading->pages[i].n;
    }
    all->rows = mem_calloc(n + 1, sizeof(*all->rows));
    for (size_t i = 0; i < reading->n_pages; i++) {
        const struct engine_rows *page = &reading->pages[i];
        if (page->n > 0) {
            memcpy(all->rows + all->n, page->rows, page->n * sizeof(*page->rows));
        }
        all->n += page->n;
    }
    /* that all pages are of; the store may be further by now */
    all->revision = reading->pages[0].revision;
    all->store = reading->pages[0].store;
}

static void read_page(struct read_all *reading);

static void on_page(void *context, const struct error *err)
{
    struct read_all *reading = context;
    const struct engine_rows *page = &reading->pages[reading->n_pages - 1];
    reading->op = NULL;
    if (!err && page->has_more && page->n > 0) {
        read_page(reading);
        return;
    }
    if (!err) {
        join_pages(reading);
    }
    reading->done(reading->context, err ? NULL : &reading->all, err);
}

static void read_page(struct read_all *reading)
{
    struct engine *engine = reading->member->engine;
    size_t n = reading->n_pages++;
    reading->pages = realloc(reading->pages, reading->n_pages * sizeof(*reading->pages));
    if (!reading->pages) {
        abort(); /* out of memory: as mem.h does */
    }
    reading->pages[n] = (struct engine_rows){.n = 0};
    const struct engine_rows *before = n > 0 ? &reading->pages[n - 1] : NULL;
    const struct engine_range range = {.key = reading->member->prefix,
        .is_prefix = true,
        .after = before ? before->rows[before->n - 1].key : NULL,
        .limit = PAGE_ROWS,
        .revision = before ? reading->pages[0].revision : 0};
    reading->op = engine->ops->range(engine, &range, &reading->pages[n], on_page, reading);
}

struct read_all *read_all_start(struct member *member, read_all_fn *done, void *context)
{
    struct read_all *reading = mem_new(struct read_all);
    reading->member = member;
    reading->done = done;
    reading->context = context;
    read_page(reading);
    return reading;
}
