/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_view.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"

static unsigned count_vms(const struct fleet_view *view, const char *node)
{
    const char *row;
    json_t *value;
    unsigned count = 0;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        count += key.kind == FLEET_KIND_STATUS && text_eq(key.first, node);
        fleet_key_clear(&key);
    }
    return count;
}

static json_t *node_to_json(const struct fleet_view *view, const char *name, const json_t *node)
{
    json_t *json = json_deep_copy(node);
    int64_t lost_ms;
    bool is_heard = fleet_view_hears(view, name, &lost_ms);
    json_put_text(json, "name", name);
    json_put_flag(json, "ready", is_heard);
    json_put_int(json, "vms", count_vms(view, name));
    if (!is_heard && lost_ms) {
        json_put_time(json, "lostAt", lost_ms);
    }
    return json;
}

/* Sorted by name; caller owns. */
static json_t *nodes_to_json(const struct fleet_view *view)
{
    json_t *nodes = json_array();
    const char *row;
    void *next;
    json_t *value;
    cleanup_free char *text = json_dumps(view->rows, JSON_SORT_KEYS);
    cleanup_json json_t *sorted = json_loads(text, 0, NULL);
    json_object_foreach_safe(sorted, next, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        if (key.kind == FLEET_KIND_NODE && json_is_object(value)) {
            (void)json_array_append_new(nodes, node_to_json(view, key.first, value));
        }
        fleet_key_clear(&key);
    }
    return nodes;
}

static void print_nodes(const struct cli *cli, const struct fleet_view *view, const json_t *nodes)
{
    static const char *const titles[] = {
        "NODE", "ADDRESS", "VERSION", "VCPUS", "MEM", "VMS", "STATE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    size_t i;
    const json_t *node;
    table_begin(&table, titles, ARRAY_LEN(titles));
    table.use_color = cli->use_color_stdout;
    table_fit_terminal(&table);
    json_array_foreach(nodes, i, node)
    {
        const char *name = json_text(node, "name"), *ssh = json_text(node, "ssh");
        const char *version = json_text(node, "version");
        char vcpus[24], mem[24], vms[24], age[DURATION_SIZE];
        int64_t lost_ms;
        bool is_heard = fleet_view_hears(view, name, &lost_ms);
        duration_format(clock_wall_ms(clock_system()) - lost_ms, age);
        bool is_of_link = !fleet_view_is_fresh(view); /* then nothing is known of any */
        cleanup_free char *lost = is_of_link ? mem_strdup("unknown")
                                  : lost_ms  ? mem_printf("lost %s ago", age)
                                             : mem_strdup("lost");
        (void)snprintf(vcpus, sizeof(vcpus), "%lld", (long long)json_int(node, "vcpus", 0));
        (void)snprintf(mem, sizeof(mem), "%lld", (long long)json_int(node, "memMib", 0));
        (void)snprintf(vms, sizeof(vms), "%lld", (long long)json_int(node, "vms", 0));
        table_add(&table, name);
        table_add(&table, ssh ? ssh : "-");
        table_add(&table, version ? version : "-");
        table_add(&table, vcpus);
        table_add(&table, mem);
        table_add(&table, vms);
        bool is_cordoned = json_flag(node, "cordoned", false);
        table_add(&table, !is_heard ? lost : is_cordoned ? "ready, takes no new VMs" : "ready");
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

int fleet_show(struct cli *cli, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    int rc = fleet_view_read(cli, &view, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_json json_t *nodes = nodes_to_json(&view);
    bool is_fresh = fleet_view_is_fresh(&view);
    const json_t *link = fleet_view_row(&view, "link");
    if (output_is_data(cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "fleet", view.config->fleet);
        json_put_text(json, "node", view.config->node);
        json_put_text(json, "state", is_fresh ? "up" : json_text(link, "state"));
        json_put_flag(json, "ready", is_fresh);
        json_put_text(json, "message", json_text(link, "message"));
        json_put_time(json, "contact", view.contact_ms);
        json_put(json, "nodes", json_incref(nodes));
        output_print(cli, json);
    } else {
        cleanup_free char *summary = fleet_view_summary(&view);
        print_nodes(cli, &view, nodes);
        cli_note(cli, "%s", summary);
        if (!is_fresh && json_text(link, "message")) {
            cli_note(cli, "%s", json_text(link, "message"));
        }
        if (!is_fresh && json_text(link, "help")) {
            cli_note(cli, "  help: %s", json_text(link, "help"));
        }
        controller_note_absent(cli);
    }
    return is_fresh ? 0 : error_exit_status(ERR_FLEET_UNREACHABLE);
}
