/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_vms.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/fleet/fleet_sources.h"
#include "specs/vm/vm_spec.h"
#include "specs/vmfile/nodes_file.h"
#include "store/store.h"

/* ---- where it is ---- */

static int find_owner(struct cli *cli, const char *name, char **ret_node, struct error *err)
{
    cleanup_free char *row = fleet_row(FLEET_KIND_NAME, name, NULL);
    cleanup_json json_t *owner = NULL;
    int rc = store_get_json(cli->store, STORE_FLEET, row, &owner, err);
    *ret_node = rc == 0 ? json_copy_text(owner, "node") : NULL;
    return rc;
}

/* Of the VMs that their nodes have for themselves. */
static int find_published(struct cli *cli, const char *name, struct strings *ret, struct error *err)
{
    cleanup_json json_t *rows = NULL;
    const char *row;
    json_t *value;
    int rc = store_list_json_below(cli->store, STORE_FLEET, "st/", &rows, err);
    json_object_foreach(rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        if (key.kind == FLEET_KIND_STATUS && text_eq(key.second, name)) {
            strings_add(ret, key.first);
        }
        fleet_key_clear(&key);
    }
    return rc;
}

int fleet_find_vm(
    struct cli *cli, const char *name, char **ret_node, bool *ret_is_fleets, struct error *err)
{
    cleanup_free char *own = fleet_own_node(cli);
    cleanup_with(strings_clear) struct strings nodes = {.count = 0};
    bool is_here = false;
    *ret_node = NULL;
    *ret_is_fleets = false;
    if (!own) {
        return 0;
    }
    int rc = cli_open_store(cli, err);
    rc = rc == 0 ? find_owner(cli, name, ret_node, err) : rc;
    *ret_is_fleets = *ret_node != NULL;
    rc = rc == 0 ? store_has(cli->store, name, &is_here, err) : rc;
    if (rc < 0 || *ret_node || is_here) {
        if (text_eq(*ret_node, own)) {
            free(TAKE_PTR(*ret_node));
        }
        return rc;
    }
    rc = find_published(cli, name, &nodes, err);
    if (rc == 0 && nodes.count > 1) {
        (void)error_set(err, ERR_USAGE, "several nodes have a vm '%s'", name);
        return error_help(
            err, "say which: %s/%s, %s/%s", nodes.items[0], name, nodes.items[1], name);
    }
    if (rc == 0 && nodes.count == 1 && !text_eq(nodes.items[0], own)) {
        *ret_node = mem_strdup(nodes.items[0]);
    }
    return rc;
}

/* ---- where it shall be ---- */

/* MiB that are promised there: to the fleet's VMs, and to those of its own that are to run. */
static int64_t memory_taken(const struct fleet_view *view, const char *node)
{
    int64_t taken = 0;
    const char *row;
    json_t *value;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        const json_t *desired = key.kind == FLEET_KIND_VM       ? value
                                : key.kind == FLEET_KIND_STATUS ? json_object_get(value, "desired")
                                                                : NULL;
        bool is_own = key.kind == FLEET_KIND_STATUS;
        if (desired && text_eq(key.first, node) &&
            !(is_own && text_eq(json_text(desired, "power"), "stopped"))) {
            taken += json_int(json_object_get(desired, "spec"), "memoryMib", 0);
        }
        fleet_key_clear(&key);
    }
    return taken;
}

/* "any", or "any:KEY=VALUE". */
static bool has_label(const char *node, const json_t *json, const char *place)
{
    const char *label = strchr(place, ':'), *equals = label ? strchr(label, '=') : NULL;
    cleanup_free char *key = equals ? mem_strndup(label + 1, (size_t)(equals - label - 1)) : NULL;
    if (!key) {
        return true;
    }
    const char *value = json_text(json_object_get(json, "labels"), key);
    return text_eq(key, "node") ? text_eq(node, equals + 1) : text_eq(value, equals + 1);
}

/* Why not; free() it. NULL: it fits, with so much left. */
static char *why_not(const struct fleet_view *view, const char *node, const json_t *json,
    const char *place, const struct vm_spec *spec, const json_t *promised, int64_t *ret_left)
{
    int64_t lost_ms;
    const char *path = fleet_spec_host_path(spec);
    *ret_left =
        json_int(json, "memMib", 0) - memory_taken(view, node) - json_int(promised, node, 0);
    return !has_label(node, json, place)             ? mem_printf("not %s", strchr(place, ':') + 1)
           : !fleet_view_hears(view, node, &lost_ms) ? mem_strdup("offline")
           : json_flag(json, "cordoned", false)      ? mem_strdup("takes no new VMs")
           : path && !(fleet_sources_of_node(json) & FLEET_SOURCE_PATH)
               ? mem_printf("does not accept paths such as '%s'", path)
           : *ret_left < (int64_t)spec->memory_mib
               ? mem_printf("%lld MiB of memory left", (long long)(*ret_left > 0 ? *ret_left : 0))
               : NULL;
}

struct choice {
    char *node;
    int64_t left; /* MiB */
};

/* Of two with as much left, always the same one. */
static int compare_choices(const void *a, const void *b)
{
    const struct choice *x = a, *y = b;
    return x->left != y->left ? (x->left < y->left) - (x->left > y->left)
                              : strcmp(x->node, y->node);
}

int fleet_choose_nodes(const struct fleet_view *view, const char *place, const struct vm_spec *spec,
    json_t *promised, struct strings *ret, struct error *err)
{
    cleanup_buf struct buf reasons = BUF_INIT(0);
    struct choice *choices = mem_calloc(json_object_size(view->rows) + 1, sizeof(*choices));
    size_t n = 0;
    const char *row;
    json_t *value;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        int64_t left;
        cleanup_free char *reason = key.kind == FLEET_KIND_NODE ? why_not(view, key.first, value,
                                                                      place, spec, promised, &left)
                                                                : NULL;
        if (reason) {
            buf_printf(&reasons, "%s%s: %s", reasons.len ? "; " : "", key.first, reason);
        } else if (key.kind == FLEET_KIND_NODE) {
            choices[n++] = (struct choice){TAKE_PTR(key.first), left};
        }
        fleet_key_clear(&key);
    }
    qsort(choices, n, sizeof(*choices), compare_choices);
    for (size_t i = 0; i < n; i++) {
        strings_append(ret, choices[i].node);
        free(choices[i].node);
    }
    free(choices);
    if (n == 0) {
        return error_set(err, ERR_FLEET_NO_NODE, "no node can take vm '%s': %s", spec->name,
            reasons.len ? buf_str(&reasons) : "no node is known");
    }
    const char *best = ret->items[0];
    json_put_int(promised, best, json_int(promised, best, 0) + spec->memory_mib);
    return 0;
}
