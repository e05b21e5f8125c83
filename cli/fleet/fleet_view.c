/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/fleet/fleet_view.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/data_trust.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_config.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "specs/vmfile/nodes_file.h"
#include "specs/vmfile/vmfile.h"
#include "store/store.h"

bool fleet_is_joined(const struct cli *cli)
{
    cleanup_free char *path =
        cli->paths.data_dir ? paths_path(&cli->paths, FLEET_CONFIG_FILE) : NULL;
    return path && fs_exists(path);
}

char *fleet_own_node(const struct cli *cli)
{
    struct fleet_config *config = NULL;
    struct error ignored = {.code = ERR_NONE};
    if (!fleet_is_joined(cli) || fleet_config_load(&cli->paths, &config, &ignored) < 0) {
        return NULL;
    }
    char *node = config ? mem_strdup(config->node) : NULL;
    fleet_config_free(config);
    return node;
}

void fleet_resolve_places(const struct cli *cli, struct vmfile *file)
{
    cleanup_free char *own = fleet_own_node(cli);
    for (size_t i = 0; own && i < file->n_vms; i++) {
        if (text_eq(file->places[i], own)) {
            free(TAKE_PTR(file->places[i]));
        }
    }
}

int64_t fleet_view_contact(const struct cli *cli)
{
    cleanup_free char *path = paths_path(&cli->paths, FLEET_CONTACT_FILE);
    struct stat file;
    return stat(path, &file) < 0 ? 0 : file.st_mtim.tv_sec * 1000 + file.st_mtim.tv_nsec / 1000000;
}

int fleet_view_open(struct cli *cli, struct fleet_view *ret, struct error *err)
{
    *ret = (struct fleet_view){.config = NULL};
    int rc = fleet_config_load(&cli->paths, &ret->config, err);
    if (rc < 0 || !ret->config) {
        return rc;
    }
    rc = data_trust_check(&cli->paths, err);
    ret->contact_ms = fleet_view_contact(cli);
    return rc == 0 ? cli_open_store(cli, err) : rc;
}

int fleet_view_read(struct cli *cli, struct fleet_view *ret, struct error *err)
{
    int rc = fleet_view_open(cli, ret, err);
    return rc == 0 && ret->config ? store_list_json(cli->store, STORE_FLEET, &ret->rows, err) : rc;
}

void fleet_view_clear(struct fleet_view *view)
{
    fleet_config_free(TAKE_PTR(view->config));
    json_decref(TAKE_PTR(view->rows));
}

const json_t *fleet_view_row(const struct fleet_view *view, const char *row)
{
    return json_object_get(view->rows, row);
}

static const json_t *row_of(
    const struct fleet_view *view, enum fleet_kind kind, const char *first, const char *second)
{
    cleanup_free char *row = fleet_row(kind, first, second);
    return fleet_view_row(view, row);
}

/* A messenger that was killed leaves the row as it was: the contact shows it, also one that is yet
 * to come, by a clock that was set back since. */
bool fleet_view_is_fresh(const struct fleet_view *view)
{
    enum { SILENT_MS = 20 * 1000 };
    const json_t *link = fleet_view_row(view, "link");
    int64_t silent_ms = clock_wall_ms(clock_system()) - view->contact_ms;
    return text_eq(json_text(link, "state"), "up") && silent_ms < SILENT_MS &&
           silent_ms > -SILENT_MS;
}

bool fleet_view_hears(const struct fleet_view *view, const char *node, int64_t *ret_lost_ms)
{
    bool is_alive = row_of(view, FLEET_KIND_ALIVE, node, NULL) != NULL;
    const json_t *lost = row_of(view, FLEET_KIND_LOST, node, NULL);
    *ret_lost_ms = !is_alive ? (int64_t)json_integer_value(lost) : view->contact_ms;
    return is_alive && fleet_view_is_fresh(view);
}

static struct vm_desired *desired_of(const json_t *json)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    return text ? vm_desired_read((struct bytes){text, strlen(text)}, &ignored) : NULL;
}

const char *fleet_view_session(const struct fleet_view *view, const char *node)
{
    const char *session = json_text(row_of(view, FLEET_KIND_ALIVE, node, NULL), "session");
    return session && session[0] ? session : NULL;
}

struct vm_record fleet_view_record(
    const struct fleet_view *view, const char *node, const char *name, bool *ret_is_current)
{
    struct vm_record record = {.name = mem_strdup(name)};
    struct error ignored = {.code = ERR_NONE};
    const json_t *published = row_of(view, FLEET_KIND_STATUS, node, name);
    const json_t *status = json_object_get(published, "status");
    const json_t *object = row_of(view, FLEET_KIND_VM, node, name);
    record.desired = desired_of(object ? object : json_object_get(published, "desired"));
    cleanup_free char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    if (text) {
        record.status = vm_status_read((struct bytes){text, strlen(text)}, &ignored);
    }
    record.is_damaged = !record.desired || (text && !record.status);
    const char *session = fleet_view_session(view, node);
    *ret_is_current = record.status && session && text_eq(session, json_text(published, "session"));
    return record;
}

void fleet_view_add_nodes(const struct fleet_view *view, struct nodes *nodes)
{
    const char *row;
    json_t *value;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        const char *ssh = json_text(value, "ssh"), *dir = json_text(value, "dataDir");
        bool is_other = key.kind == FLEET_KIND_NODE && !text_eq(key.first, view->config->node);
        if (is_other && node_name_is_valid(key.first) && ssh && node_address_is_valid(ssh) &&
            (!dir || node_data_dir_is_valid(dir)) && !nodes_find(nodes, key.first)) {
            mem_grow(nodes->items, nodes->count);
            nodes->items[nodes->count++] = (struct node){.name = mem_strdup(key.first),
                .address = mem_strdup(ssh),
                .data_dir = mem_strdup(dir)};
        }
        fleet_key_clear(&key);
    }
}

static void count_nodes(const struct fleet_view *view, unsigned *ret_count, unsigned *ret_lost)
{
    const char *row;
    json_t *value;
    *ret_count = *ret_lost = 0;
    json_object_foreach(view->rows, row, value)
    {
        struct fleet_key key = fleet_row_parse(row);
        if (key.kind == FLEET_KIND_NODE) {
            ++*ret_count;
            *ret_lost += !row_of(view, FLEET_KIND_ALIVE, key.first, NULL);
        }
        fleet_key_clear(&key);
    }
}

char *fleet_view_summary(const struct fleet_view *view)
{
    struct buf out = BUF_INIT(0);
    const json_t *link = fleet_view_row(view, "link");
    const char *state = json_text(link, "state");
    int64_t age_ms = clock_wall_ms(clock_system()) - view->contact_ms;
    char age[DURATION_SIZE];
    unsigned count, lost;
    count_nodes(view, &count, &lost);
    duration_format(age_ms > 0 ? age_ms : 0, age);
    buf_printf(&out, "fleet %s: ", view->config->fleet);
    if (fleet_view_is_fresh(view)) {
        buf_printf(&out, "etcd ok, %u node%s", count, count == 1 ? "" : "s");
        if (lost > 0) {
            buf_printf(&out, ", %u lost", lost);
        }
    } else if (text_eq(state, "frozen")) {
        buf_printf(&out, "frozen: %s", json_text(link, "message"));
    } else if (view->contact_ms) {
        buf_printf(&out, "etcd last answered %s ago; other nodes as of then", age);
    } else {
        buf_add_str(&out, "etcd has never answered");
    }
    return buf_steal(&out);
}

void fleet_learn_nodes(struct cli *cli)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_json json_t *rows = NULL;
    cleanup_free char *own = fleet_own_node(cli);
    const char *row;
    json_t *value;
    if (!own || data_trust_check(&cli->paths, &ignored) < 0 || cli_open_store(cli, &ignored) < 0 ||
        store_list_json_below(cli->store, STORE_FLEET, "node/", &rows, &ignored) < 0) {
        return;
    }
    strings_add(&cli->fleet_nodes, own);
    strings_add(&cli->fleet_nodes, NODE_ANY);
    json_object_foreach(rows, row, value)
    {
        strings_add(&cli->fleet_nodes, row + strlen("node/"));
    }
}
