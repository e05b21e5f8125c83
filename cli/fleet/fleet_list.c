/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_view.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

struct reading {
    json_t *rows; /* those that are of no VM */
    struct fleet_list vms, published;
};

static void keep_listed(
    struct fleet_list *list, struct fleet_key *key_take, struct fleet_summary summary)
{
    mem_grow(list->items, list->count);
    list->items[list->count++] = (struct fleet_listed){
        .node = TAKE_PTR(key_take->first), .name = TAKE_PTR(key_take->second), .summary = summary};
}

static void take_row(void *context, const char *row, struct bytes text)
{
    struct reading *reading = context;
    struct fleet_key key = fleet_row_parse(row);
    struct fleet_summary summary;
    bool is_status = key.kind == FLEET_KIND_STATUS, is_vm = key.kind == FLEET_KIND_VM;
    bool is_skipped = key.kind == FLEET_KIND_NAME || key.kind == FLEET_KIND_OTHER;
    bool is_read = (is_status || is_vm) && fleet_summary_read(text, &summary);
    cleanup_json json_t *json =
        is_read || is_skipped ? NULL : json_loadb(text.data, text.n, JSON_DECODE_ANY, NULL);
    if (is_status || is_vm) {
        if (!is_read) {
            fleet_summary_of(key.kind, json, &summary);
        }
        keep_listed(is_vm ? &reading->vms : &reading->published, &key, summary);
    } else if (json) {
        json_put(reading->rows, row, json_incref(json));
    }
    fleet_key_clear(&key);
}

static int compare_listed(const void *a, const void *b)
{
    const struct fleet_listed *x = a, *y = b;
    int order = strcmp(x->node, y->node);
    return order ? order : strcmp(x->name, y->name);
}

static void sort(struct fleet_list *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof(*list->items), compare_listed);
    }
}

/* What the VM shall be is the fleet's word, if it has one; how it is, that of its node. */
static void join(struct fleet_listed *vm, const struct fleet_listed *published)
{
    const struct fleet_summary *status = &published->summary;
    vm->summary.has_status = status->has_status;
    vm->summary.status = status->status;
    memcpy(vm->summary.session, status->session, TEXT_ID_SIZE);
    vm->summary.is_status_damaged = status->is_status_damaged;
}

/* A VM has one of two kinds of rows, or both. */
static void join_all(struct reading *reading, struct fleet_list *ret)
{
    size_t n_vms = reading->vms.count;
    sort(&reading->vms);
    for (size_t i = 0; i < reading->published.count; i++) {
        struct fleet_listed *published = &reading->published.items[i];
        struct fleet_listed *vm = n_vms > 0 ? bsearch(published, reading->vms.items, n_vms,
                                                  sizeof(*published), compare_listed)
                                            : NULL;
        if (vm) {
            join(vm, published);
        } else {
            mem_grow(ret->items, ret->count);
            ret->items[ret->count++] = *published;
            *published = (struct fleet_listed){.node = NULL};
        }
    }
    for (size_t i = 0; i < n_vms; i++) {
        mem_grow(ret->items, ret->count);
        ret->items[ret->count++] = reading->vms.items[i];
        reading->vms.items[i] = (struct fleet_listed){.node = NULL};
    }
    sort(ret);
}

int fleet_list_read(
    struct cli *cli, struct fleet_view *ret_view, struct fleet_list *ret, struct error *err)
{
    int rc = fleet_view_open(cli, ret_view, err);
    if (rc < 0 || !ret_view->config) {
        return rc;
    }
    struct reading reading = {.rows = json_object()};
    rc = store_each_text(cli->store, STORE_FLEET, take_row, &reading, err);
    ret_view->rows = reading.rows;
    if (rc == 0) {
        join_all(&reading, ret);
    }
    fleet_list_clear(&reading.vms);
    fleet_list_clear(&reading.published);
    return rc;
}

void fleet_list_clear(struct fleet_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].node);
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct fleet_list){.count = 0};
}
