/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/spread.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_vms.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/route.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/selector.h"
#include "specs/vm/vm_desired.h"
#include "store/store.h"

static void spread_clear(struct spread *spread)
{
    for (size_t i = 0; i < spread->count; i++) {
        strings_clear(&spread->items[i].names);
    }
    free(TAKE_PTR(spread->items));
    free(TAKE_PTR(spread->here));
    vmfile_load_clear(&spread->load);
    nodes_clear(&spread->nodes);
}

/* What is wrong with the file is the command's to say. */
static void load_file(struct spread *spread)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *path = NULL;
    cleanup_with(strings_clear) struct strings overrides = {.count = 0}, shown = {.count = 0};
    const struct arg_strings *files = &spread->which->files;
    const struct vmfile_inputs inputs = {.given = &spread->cli->given,
        .uses_environment = true,
        .fleet_nodes = &spread->cli->fleet_nodes,
        .overrides = &overrides};
    bool is_valid = project_path(spread->cli, files, &path, &ignored) == 0 &&
                    project_overrides(files, &overrides, &shown, &ignored) == 0 &&
                    vmfile_load(path, path, &inputs, &spread->load, &ignored) == 0 &&
                    spread->load.file->n_diagnostics == 0;
    if (is_valid) {
        fleet_resolve_places(spread->cli, spread->load.file);
    } else {
        vmfile_load_clear(&spread->load);
    }
}

static bool is_any_elsewhere(const struct vmfile *file)
{
    for (size_t i = 0; file && i < file->n_vms; i++) {
        if (file->places[i]) {
            return true;
        }
    }
    return false;
}

/* ---- which VMs, and where ---- */

/* All of the fleet's VMs are one share. */
static void add_fleets(struct spread *spread, const char *name)
{
    struct share_of_node *item = NULL;
    for (size_t i = 0; i < spread->count && !item; i++) {
        item = spread->items[i].is_fleets ? &spread->items[i] : NULL;
    }
    if (!item) {
        mem_grow(spread->items, spread->count);
        item = &spread->items[spread->count++];
        *item = (struct share_of_node){.is_fleets = true};
    }
    strings_add(&item->names, name);
}

static int add_to_share(
    struct spread *spread, const char *place, const char *name, struct error *err);

/* Whether this host has a VM of that name which is not the fleet's. */
static int has_own(const struct spread *spread, const char *name, bool *ret, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = cli_open_store(spread->cli, err);
    rc = rc == 0 ? store_get(spread->cli->store, name, &record, err) : rc;
    *ret = rc == 0 && record.desired && !record.desired->fleet.epoch;
    return rc;
}

/* A VM of which not the VMFile says where it is: the fleet may know it. `is_chosen`: its `node`
 * leaves that to the fleet. */
static int add_found(struct spread *spread, const char *name, bool is_chosen, struct error *err)
{
    cleanup_free char *node = NULL;
    bool is_fleets, is_own = false;
    int rc = fleet_find_vm(spread->cli, name, &node, &is_fleets, err);
    rc = rc == 0 && is_fleets && node && !is_chosen ? has_own(spread, name, &is_own, err) : rc;
    if (rc == 0 && is_own) {
        (void)error_set(err, ERR_USAGE, "both this host and node '%s' have a vm '%s'", node, name);
        return error_help(err, "choose one: " NODE_HERE "/%s, %s/%s", name, node, name);
    }
    if (rc < 0) {
        return rc;
    }
    /* What runs here can be started and stopped without etcd, too: that becomes the fleet's. */
    bool is_for_host =
        is_fleets && !node && text_has_word("start stop restart", spread->command->name);
    if ((is_fleets || is_chosen) && spread_asks_fleet(spread->command) && !is_for_host) {
        add_fleets(spread, name);
        return 0;
    }
    if (is_fleets && node && spread_waits_by_mirror(spread)) {
        add_fleets(spread, name);
        return 0;
    }
    if (is_chosen && !is_fleets) {
        (void)error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s' in the fleet yet", name);
        return error_help(err, "create it: vmctl up %s", name);
    }
    return add_to_share(spread, node, name, err);
}

static int add_to_share(
    struct spread *spread, const char *place, const char *name, struct error *err)
{
    struct share_of_node *item = NULL;
    place = place && text_eq(place, spread->here) ? NULL : place;
    if (node_is_any(place)) {
        return add_found(spread, name, true, err);
    }
    for (size_t i = 0; i < spread->count && !item; i++) {
        bool is_same = !spread->items[i].is_fleets && text_eq(spread->items[i].place, place);
        item = is_same ? &spread->items[i] : NULL;
    }
    if (!item) {
        const struct node *node = place ? nodes_find(&spread->nodes, place) : NULL;
        if (place && !node) {
            (void)error_set(err, ERR_USAGE, "there is no node '%s'", place);
            return error_help(err, "add it first: vmctl node add %s USER@HOST", place);
        }
        mem_grow(spread->items, spread->count);
        item = &spread->items[spread->count++];
        *item = (struct share_of_node){.place = node ? node->name : NULL, .node = node};
    }
    strings_add(&item->names, name);
    return 0;
}

/* Whether there are VMs here of a project that is called as a node is. */
static int is_project(struct spread *spread, const char *name, bool *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    const char *project = NULL;
    int rc = scope_find(spread->cli, &spread->which->files, &project, err);
    *ret = rc == 0 && text_eq(project, name);
    rc = rc == 0 ? targets_of_store(spread->cli, &names, err) : rc;
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        *ret |= vm_name_is_of(names.items[i], name);
    }
    return rc;
}

/* Of "b/web", which node's it is; *ret is NULL: a project's. free() it. */
static int find_place(struct spread *spread, const char *word, char **ret, struct error *err)
{
    const char *slash = strchr(word, '/');
    cleanup_free char *first = mem_strndup(word, (size_t)(slash - word));
    bool is_named = nodes_find(&spread->nodes, first) || text_eq(first, spread->here);
    bool is_node = is_named || strchr(slash + 1, '/'), is = false;
    int rc = 0;
    if (!is_node || project_name_is_valid(first)) {
        rc = strchr(slash + 1, '/') ? 0 : is_project(spread, first, &is, err);
    }
    if (rc == 0 && is && is_node) {
        (void)error_set(err, ERR_USAGE, "'%s' is both a node and a project of this host", first);
        return error_help(err,
            "the node's VM: vmctl --node %s … %s; the project's: " NODE_HERE "/%s", first,
            slash + 1, word);
    }
    bool is_here = text_eq(first, NODE_HERE);
    *ret = is ? NULL : is_here ? mem_strdup(NODE_HERE) : TAKE_PTR(first);
    return rc;
}

/* "web", where the VMFile has it; "b/web" and "b/shop/web" on that node; or "shop/web". */
static int add_named(struct spread *spread, const char *word, struct error *err)
{
    const struct vmfile *file = spread->load.file;
    const char *project = NULL;
    cleanup_free char *place = NULL;
    int rc = strchr(word, '/') ? find_place(spread, word, &place, err) : 0;
    word += place ? strlen(place) + 1 : 0;
    if (rc == 0 && !strchr(word, '/')) {
        rc = scope_find(spread->cli, &spread->which->files, &project, err);
    }
    cleanup_free char *name = vm_name_in(project, word);
    spread->is_of_names = true;
    if (rc != 0 || place) {
        return rc != 0 ? rc
                       : add_to_share(spread, text_eq(place, NODE_HERE) ? NULL : place, name, err);
    }
    for (size_t i = 0; file && i < file->n_vms; i++) {
        if (text_eq(file->vms[i]->name, name)) {
            return add_to_share(spread, file->places[i], name, err);
        }
    }
    return add_found(spread, name, false, err);
}

static int add_all(struct spread *spread, struct error *err)
{
    const struct vmfile *file = spread->load.file;
    const char *labels = spread->which->selector;
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    int rc = labels ? selector_parse(labels, &selector, err) : 0;
    if (rc == 0 && spread->command->reach == REACH_ONE && file->n_vms > 1) {
        (void)error_set(
            err, ERR_USAGE, "this command is for one VM, and the VMFile has %zu", file->n_vms);
        return error_help(err, "give its name, such as: %s", file->vms[0]->name);
    }
    for (size_t i = 0; rc == 0 && i < file->n_vms; i++) {
        if (selector_matches(&selector, file->vms[i])) {
            rc = add_to_share(spread, file->places[i], file->vms[i]->name, err);
        }
    }
    return rc;
}

/* Of a command for one VM the words behind the first are something else. */
size_t spread_name_words(const struct spread *spread)
{
    const struct arg_strings *words = spread->words;
    return spread->command->reach != REACH_ONE ? words->count
           : spread->which->names.count > 0    ? 0
                                               : words->n_before_dashes > 0;
}

/* `destroy --all`, or by labels: those of this host, of which the fleet has to be asked for its
 * own. None is chosen where there is none of that kind. */
static int add_all_here(struct spread *spread, struct error *err)
{
    cleanup_with(strings_clear) struct strings names = {.count = 0};
    const struct arg_strings no_words = {.count = 0};
    struct which_values which = {.is_all = true, .selector = spread->which->selector};
    bool is_any = false, is_own = false;
    int rc = targets_find(spread->cli, &which, &no_words, &names, err);
    for (size_t i = 0; rc == 0 && i < names.count && !is_any; i++) {
        rc = has_own(spread, names.items[i], &is_own, err);
        is_any = rc == 0 && !is_own;
    }
    spread->is_of_names |= is_any;
    for (size_t i = 0; rc == 0 && is_any && i < names.count; i++) {
        rc = has_own(spread, names.items[i], &is_own, err);
        rc = rc == 0 && is_own ? add_to_share(spread, NULL, names.items[i], err)
             : rc == 0         ? add_found(spread, names.items[i], false, err)
                               : rc;
    }
    return rc;
}

static int choose(struct spread *spread, struct error *err)
{
    const struct which_values *which = spread->which;
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    size_t n_words = spread_name_words(spread);
    int rc = targets_selector(which, spread->words, &selector, err); /* it, or names */
    for (size_t i = 0; rc == 0 && i < n_words; i++) {
        rc = add_named(spread, spread->words->items[i], err);
    }
    for (size_t i = 0; rc == 0 && i < which->names.count; i++) {
        rc = add_named(spread, which->names.items[i], err);
    }
    bool names_none = n_words + which->names.count == 0;
    bool means_file = names_none && !which->is_all && spread->command->reach != REACH_NAMED;
    if (rc == 0 && spread->here && names_none && (which->is_all || which->selector) &&
        text_eq(spread->command->name, "destroy")) {
        return add_all_here(spread, err);
    }
    return rc == 0 && means_file && is_any_elsewhere(spread->load.file) ? add_all(spread, err) : rc;
}

/* ---- there, or here ---- */

int spread_find_one(struct cli *cli, const struct which_values *which, const char *word,
    const struct nodes *nodes, const struct node **ret, char **ret_name, struct error *err)
{
    static const struct command one = {.reach = REACH_ONE};
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    *ret = NULL;
    if (!nodes_exist(cli)) {
        return 0;
    }
    if (word) {
        arg_strings_add(&words, word);
        words.n_before_dashes = 1;
    }
    cleanup_with(spread_clear) struct spread spread = {
        .cli = cli, .command = &one, .which = which, .words = &words, .nodes = *nodes};
    spread.here = fleet_own_node(cli);
    load_file(&spread);
    int rc = choose(&spread, err);
    if (rc == 0 && spread.count > 0) {
        *ret = spread.items[0].node;
        *ret_name = mem_strdup(spread.items[0].names.items[0]);
    }
    spread.nodes = (struct nodes){.count = 0}; /* the caller's */
    return rc;
}

int spread(const struct spread *request, bool *ret_is_done, struct error *err)
{
    cleanup_with(spread_clear) struct spread spread = *request;
    *ret_is_done = false;
    if (spread.command->reach == REACH_HERE || spread.global->node || !nodes_exist(spread.cli)) {
        return 0;
    }
    load_file(&spread);
    int rc = nodes_load(spread.cli, &spread.nodes, err);
    spread.here = fleet_own_node(spread.cli);
    rc = rc == 0 ? choose(&spread, err) : rc;
    bool is_elsewhere = false;
    for (size_t i = 0; i < spread.count; i++) {
        is_elsewhere |= spread.items[i].node || spread.items[i].is_fleets;
    }
    if (rc != 0 || !is_elsewhere) {
        spread.cli->is_for_here = spread.load.file != NULL;
        return rc;
    }
    *ret_is_done = true;
    return spread_run(&spread, err);
}
