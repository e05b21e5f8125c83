/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/node_vms.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/nodes.h"
#include "cli/nodes/parts.h"
#include "cli/show/output.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"

enum { ANSWER_MS = 3000, LOST_ANSWER_MS = 500, LOST_AGAIN_MS = 60 * 1000 };

/* ---- a node's last answer, DATA/nodes/NAME.json, and NAME.lost, since when there is none ---- */

static char *answer_path(const struct cli *cli, const struct node *node, const char *suffix)
{
    cleanup_free char *dir = paths_path(&cli->paths, "nodes");
    return mem_printf("%s/%s.%s", dir, node->name, suffix);
}

/* When it was written, wall; 0: it was not. */
static int64_t written_ms(const char *path)
{
    struct stat st;
    return stat(path, &st) < 0 ? 0 : st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

static int64_t limit_of(const struct cli *cli, const struct node *node)
{
    cleanup_free char *path = answer_path(cli, node, "lost");
    int64_t since_ms = clock_wall_ms(clock_system()) - written_ms(path);
    return since_ms >= 0 && since_ms < LOST_AGAIN_MS ? LOST_ANSWER_MS : ANSWER_MS;
}

/* Only a cache: what cannot be kept is asked for again. */
static void keep(const struct cli *cli, const struct node *node, const struct part *part)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *dir = paths_path(&cli->paths, "nodes");
    cleanup_free char *answer = answer_path(cli, node, "json");
    cleanup_free char *lost = answer_path(cli, node, "lost");
    if (fs_make_dirs(dir, 0700, &ignored) < 0) {
        return;
    }
    if (part) {
        (void)fs_write_file(answer, buf_str(&part->out), part->out.len, 0600, &ignored);
        (void)fs_remove_file(lost, &ignored);
    } else if (limit_of(cli, node) == ANSWER_MS) {
        (void)fs_write_file(lost, "", 0, 0600, &ignored);
    }
}

/* ---- what it says ---- */

/* The record as far as this version understands it: a member that it does not is missing, and the
 * VM shown as damaged. */
static void decode(const json_t *json, struct vm_record *ret)
{
    struct error ignored = {.code = ERR_NONE};
    json_t *desired = json_object_get(json, "desired"), *status = json_object_get(json, "status");
    cleanup_free char *desired_text = desired ? json_dumps(desired, JSON_COMPACT) : NULL;
    cleanup_free char *status_text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    ret->name = mem_strdup(json_text(json, "name"));
    if (desired_text) {
        const struct bytes bytes = {desired_text, strlen(desired_text)};
        ret->desired = vm_desired_read(bytes, &ignored);
        ret->is_damaged = !ret->desired;
    }
    error_clear(&ignored);
    if (status_text) {
        const struct bytes bytes = {status_text, strlen(status_text)};
        ret->status = vm_status_read(bytes, &ignored);
        ret->is_damaged |= !ret->status;
    }
}

static struct node_vm *add(struct node_vms *vms, const char *node)
{
    mem_grow(vms->items, vms->count);
    struct node_vm *vm = &vms->items[vms->count++];
    *vm = (struct node_vm){.node = mem_strdup(node)};
    return vm;
}

/* Adds the VMs of an answer, "vmctl VERSION" and an array; false: it is none. */
static bool add_answer(struct cli *cli, struct node_vms *vms, const struct node *node,
    const char *text, size_t size, int64_t asked_ms)
{
    static const char begin[] = "vmctl ";
    const char *newline = memchr(text, '\n', size);
    cleanup_free char *version =
        newline && text_starts_with(text, begin)
            ? mem_strndup(text + strlen(begin), (size_t)(newline - text) - strlen(begin))
            : NULL;
    cleanup_json json_t *array =
        version ? json_loadb(newline + 1, size - (size_t)(newline + 1 - text), 0, NULL) : NULL;
    size_t i;
    json_t *json;
    if (!json_is_array(array)) {
        return false;
    }
    if (!text_eq(version, VMCTL_VERSION)) {
        cli_note(
            cli, "note: node '%s' runs vmctl %s, this is %s", node->name, version, VMCTL_VERSION);
    }
    json_array_foreach(array, i, json)
    {
        if (json_text(json, "name")) {
            struct node_vm *vm = add(vms, node->name);
            vm->json = json_incref(json);
            vm->asked_ms = asked_ms;
            vm->is_lost = asked_ms != 0;
            decode(json, &vm->record);
        }
    }
    return true;
}

static void add_lost(
    struct cli *cli, struct node_vms *vms, const struct node *node, const struct part *part)
{
    struct error err = {.code = ERR_NONE}, ignored = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_free char *path = answer_path(cli, node, "json");
    int64_t asked_ms = written_ms(path);
    bool is_known = asked_ms > 0 && fs_read_file(path, &text, &ignored) == 0 &&
                    add_answer(cli, vms, node, buf_str(&text), text.len, asked_ms);
    (void)node_refuse(node, part, &err);
    cli_note(cli, "note: %s%s", err.message,
        is_known ? "; its VMs are shown as it reported them last" : "; it has never answered");
}

static const char *here(const struct fleet_view *view)
{
    return view->config ? view->config->node : NODE_HERE;
}

static int add_own_records(
    struct cli *cli, const struct fleet_view *view, struct node_vms *vms, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(cli->store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        struct node_vm *vm = add(vms, here(view));
        vm->record = list.records[i];
        list.records[i] = (struct vm_record){.name = NULL};
    }
    vm_list_clear(&list);
    return rc;
}

static int add_own_summaries(
    struct cli *cli, const struct fleet_view *view, struct node_vms *vms, struct error *err)
{
    struct vm_summary_list list = {.count = 0};
    int rc = store_list_summaries(cli->store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        struct node_vm *vm = add(vms, here(view));
        vm->summary = list.items[i];
        list.items[i] = (struct vm_summary){.name = NULL};
    }
    vm_summary_list_clear(&list);
    return rc;
}

/* ---- of a fleet: from the rows that are kept here ---- */

static void add_fleet_vm(
    const struct fleet_view *view, struct node_vms *vms, const struct fleet_key *key)
{
    struct node_vm *vm = add(vms, key->first);
    bool is_current;
    int64_t lost_ms;
    vm->record = fleet_view_record(view, key->first, key->second, &is_current);
    bool is_heard = fleet_view_hears(view, key->first, &lost_ms);
    vm->is_lost = !is_heard || (vm->record.status && !is_current);
    vm->asked_ms = is_heard ? 0 : lost_ms;
}

/* Node by node, as the rows are in the order of their keys; a VM has one of two kinds, or both. */
static void add_fleet(const struct fleet_view *view, struct node_vms *vms)
{
    const char *row;
    json_t *value;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        bool is_vm = key.kind == FLEET_KIND_VM || key.kind == FLEET_KIND_STATUS;
        bool is_other = is_vm && !text_eq(key.first, view->config->node);
        cleanup_free char *status =
            is_other ? fleet_row(FLEET_KIND_STATUS, key.first, key.second) : NULL;
        bool comes_again = key.kind == FLEET_KIND_VM && status && fleet_view_row(view, status);
        if (is_other && !comes_again) {
            add_fleet_vm(view, vms, &key);
        }
        fleet_key_clear(&key);
    }
}

static const char *name_of(const struct node_vm *vm)
{
    return vm->summary.name ? vm->summary.name : vm->record.name;
}

/* How far the node is that fetches it. */
static void add_moving(const struct fleet_view *view, struct node_vm *vm, const char *to)
{
    if (!to || !to[0]) {
        return;
    }
    cleanup_free char *row = fleet_row(FLEET_KIND_IN, to, name_of(vm));
    const json_t *incoming = fleet_view_row(view, row);
    const char *error = json_text(incoming, "error");
    int64_t percent = json_int(incoming, "percent", 0);
    vm->moving = json_object();
    json_put_text(vm->moving, "to", to);
    json_put_int(vm->moving, "percent", percent);
    json_put_text(vm->moving, "error", error);
    vm->moving_text = error ? mem_printf("Moving to %s: %s", to, error)
                            : mem_printf("Moving to %s %lld %%", to, (long long)percent);
}

static int compare_node_vms(const void *a, const void *b)
{
    const struct node_vm *x = a, *y = b;
    int order = strcmp(x->node, y->node);
    return order ? order : vm_rows_compare_names(name_of(x), name_of(y));
}

/* Of a name that the file and the fleet have, the fleet's counts: it costs nothing. */
static void drop_fleets(const struct fleet_view *view, struct nodes *nodes)
{
    size_t kept = 0;
    for (size_t i = 0; i < nodes->count; i++) {
        cleanup_free char *row = fleet_row(FLEET_KIND_NODE, nodes->items[i].name, NULL);
        if (fleet_view_row(view, row)) {
            free(nodes->items[i].name);
            free(nodes->items[i].address);
            free(nodes->items[i].data_dir);
            free(nodes->items[i].program);
        } else {
            nodes->items[kept++] = nodes->items[i];
        }
    }
    nodes->count = kept;
}

static void add_all_moving(const struct fleet_view *view, struct node_vms *vms)
{
    for (size_t i = 0; i < vms->count; i++) {
        const struct vm_desired *desired = vms->items[i].record.desired;
        add_moving(view, &vms->items[i], desired ? desired->fleet.move_to : NULL);
    }
}

/* One that this node has as the fleet's: all but where it moves to is known by now. */
static void add_own_move(const struct fleet_view *view, struct node_vms *vms, size_t n_own,
    const struct fleet_listed *vm)
{
    for (size_t i = 0; vm->summary.move_to[0] && i < n_own; i++) {
        if (text_eq(name_of(&vms->items[i]), vm->name)) {
            add_moving(view, &vms->items[i], vm->summary.move_to);
        }
    }
}

/* How a node is found, for all of its VMs. */
struct node_look {
    const char *node, *session;
    bool is_heard;
    int64_t lost_ms;
};

static void look_at_node(const struct fleet_view *view, const char *node, struct node_look *look)
{
    if (!text_eq(look->node, node)) {
        look->node = node;
        look->session = fleet_view_session(view, node);
        look->is_heard = fleet_view_hears(view, node, &look->lost_ms);
    }
}

static void add_listed(const struct fleet_view *view, struct node_vms *vms,
    const struct fleet_listed *listed, const struct node_look *look)
{
    const struct fleet_summary *summary = &listed->summary;
    struct node_vm *vm = add(vms, listed->node);
    vm->summary = (struct vm_summary){.name = mem_strdup(listed->name),
        .has_desired = summary->has_desired,
        .has_status = summary->has_status,
        .is_damaged = !summary->has_desired || summary->is_status_damaged,
        .desired = summary->desired,
        .status = summary->status};
    bool is_current = look->session && text_eq(summary->session, look->session);
    vm->is_lost = !look->is_heard || (summary->has_status && !is_current);
    vm->asked_ms = look->is_heard ? 0 : look->lost_ms;
    add_moving(view, vm, summary->move_to);
}

static int add_summaries(
    struct cli *cli, struct fleet_view *view, struct node_vms *vms, struct error *err)
{
    struct fleet_list list = {.count = 0};
    struct node_look look = {.node = NULL};
    int rc = fleet_list_read(cli, view, &list, err);
    rc = rc == 0 ? add_own_summaries(cli, view, vms, err) : rc;
    for (size_t i = 0, n_own = vms->count; rc == 0 && i < list.count; i++) {
        if (text_eq(list.items[i].node, view->config->node)) {
            add_own_move(view, vms, n_own, &list.items[i]);
        } else {
            look_at_node(view, list.items[i].node, &look);
            add_listed(view, vms, &list.items[i], &look);
        }
    }
    fleet_list_clear(&list);
    return rc;
}

static int add_records(
    struct cli *cli, struct fleet_view *view, struct node_vms *vms, struct error *err)
{
    int rc = fleet_view_read(cli, view, err);
    rc = rc == 0 ? add_own_records(cli, view, vms, err) : rc;
    if (rc == 0 && view->config) {
        add_fleet(view, vms);
        add_all_moving(view, vms);
    }
    return rc;
}

/* This node's first, as they are there. */
static void sort_others(struct node_vms *vms, const char *own)
{
    size_t n_own = 0;
    while (n_own < vms->count && text_eq(vms->items[n_own].node, own)) {
        n_own++;
    }
    if (vms->count > n_own) {
        qsort(vms->items + n_own, vms->count - n_own, sizeof(*vms->items), compare_node_vms);
    }
}

static int add_known(struct cli *cli, bool needs_records, struct node_vms *vms, struct nodes *nodes,
    struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    int rc =
        needs_records ? add_records(cli, &view, vms, err) : add_summaries(cli, &view, vms, err);
    if (rc == 0 && view.config) {
        drop_fleets(&view, nodes);
        sort_others(vms, view.config->node);
        vms->summary = fleet_view_summary(&view);
    }
    return rc;
}

int node_vms_ask(struct cli *cli, bool needs_records, struct node_vms *ret, struct error *err)
{
    static const char *const words[] = {"list", "-o", "json", NULL};
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    int rc = nodes_load_named(cli, &nodes, err);
    rc = rc == 0 ? add_known(cli, needs_records, ret, &nodes, err) : rc;
    if (rc != 0) {
        return rc;
    }
    struct part *parts = mem_calloc(nodes.count, sizeof(*parts));
    for (size_t i = 0; i < nodes.count; i++) {
        parts[i] = (struct part){
            .input_fd = -1, .limit_ms = limit_of(cli, &nodes.items[i]), .says_version = true};
        part_add_ssh(&parts[i], &nodes.items[i], false, NULL, words);
    }
    parts_run(parts, nodes.count, false);
    for (size_t i = 0; i < nodes.count; i++) {
        const struct part *part = &parts[i];
        bool has_answered =
            part->status == 0 && !part->is_late &&
            add_answer(cli, ret, &nodes.items[i], buf_str(&part->out), part->out.len, 0);
        keep(cli, &nodes.items[i], has_answered ? part : NULL);
        if (!has_answered) {
            add_lost(cli, ret, &nodes.items[i], part);
        }
    }
    parts_clear(parts, nodes.count);
    return 0;
}

void node_vms_clear(struct node_vms *vms)
{
    for (size_t i = 0; i < vms->count; i++) {
        free(vms->items[i].node);
        free(vms->items[i].summary.name);
        vm_record_clear(&vms->items[i].record);
        json_decref(vms->items[i].json);
        json_decref(vms->items[i].moving);
        free(vms->items[i].moving_text);
    }
    free(vms->items);
    free(vms->summary);
    *vms = (struct node_vms){.count = 0};
}

struct vm_row node_vm_row(const struct node_vm *vm)
{
    struct vm_row row =
        vm->summary.name ? vm_row_of_summary(&vm->summary) : vm_row_of_record(&vm->record);
    row.node = vm->node;
    row.asked_ms = vm->asked_ms;
    row.moving = vm->moving_text;
    row.lost = vm->is_lost ? vm_row_state(&row) : NULL;
    return row;
}

json_t *node_vm_json(const struct node_vm *vm)
{
    json_t *json = vm->json ? json_deep_copy(vm->json) : output_of_vm(&vm->record);
    int64_t now_ms = clock_wall_ms(clock_system());
    json_put_text(json, "node", vm->node);
    if (vm->moving) {
        json_put(json, "moving", json_incref(vm->moving));
    }
    json_put_int(json, "secondsAgo", vm->asked_ms ? (now_ms - vm->asked_ms) / 1000 : 0);
    if (vm->is_lost) {
        json_put_text(json, "display", "Unknown");
        json_put_flag(json, "ready", false);
    }
    return json;
}
