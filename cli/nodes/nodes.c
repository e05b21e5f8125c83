/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/nodes/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fleet/fleet_view.h"
#include "cli/nodes/parts.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/lockfile.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/kdl/kdl.h"
#include "specs/vmfile/vmfile.h"

enum { NODES_MAX_BYTES = 64 * 1024 };

/* A file that is not there is empty. */
static int read_nodes(
    const struct cli *cli, const char *path, struct buf *text, struct nodes *ret, struct error *err)
{
    struct error cause = {.code = ERR_NONE};
    if (fs_read_regular(path, text, &cause) < 0 && cause.sys_errno != ENOENT) {
        *err = cause;
        return -(int)err->code;
    }
    nodes_parse(buf_str(text), text->len, ret);
    if (ret->problems->n_diagnostics == 0) {
        return 0;
    }
    cleanup_buf struct buf out = BUF_INIT(0);
    nodes_render_problems(
        &out, ret, buf_str(text), text->len, path, cli->use_color, cli_columns_of_errors());
    fputs(buf_str(&out), stderr);
    return error_exit_status(ERR_VMFILE_INVALID);
}

int nodes_load_named(const struct cli *cli, struct nodes *ret, struct error *err)
{
    cleanup_free char *path = nodes_path();
    cleanup_buf struct buf text = BUF_INIT(NODES_MAX_BYTES);
    return read_nodes(cli, path, &text, ret, err);
}

int nodes_load(struct cli *cli, struct nodes *ret, struct error *err)
{
    cleanup_with(fleet_view_clear) struct fleet_view view = {.config = NULL};
    int rc = nodes_load_named(cli, ret, err);
    if (rc != 0 || !fleet_is_joined(cli)) {
        return rc;
    }
    rc = fleet_view_read(cli, &view, err);
    if (rc == 0) {
        fleet_view_add_nodes(&view, ret);
    }
    return rc;
}

bool nodes_exist(const struct cli *cli)
{
    cleanup_free char *path = nodes_path();
    return fs_exists(path) || fleet_is_joined(cli);
}

int nodes_load_one(struct cli *cli, const char *name, struct nodes *ret_nodes,
    const struct node **ret, struct error *err)
{
    int rc = nodes_load(cli, ret_nodes, err);
    if (rc != 0) {
        return rc;
    }
    *ret = nodes_find(ret_nodes, name);
    if (*ret) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "there is no node '%s'", name);
    cleanup_free const char **names = mem_calloc(ret_nodes->count + 1, sizeof(*names));
    for (size_t i = 0; i < ret_nodes->count; i++) {
        names[i] = ret_nodes->items[i].name;
    }
    const char *nearest = text_nearest(name, names, ret_nodes->count);
    return nearest ? error_help(err, "did you mean '%s'?", nearest)
                   : error_help(err, "add it first: vmctl node add %s USER@HOST", name);
}

/* ---- changes ---- */

static void add_property(struct buf *out, const char *name, const char *value)
{
    if (value) {
        buf_printf(out, " %s=", name);
        kdl_print_string(out, value, strlen(value));
    }
}

static void add_line(struct buf *text, const struct node *node)
{
    if (text->len > 0 && text->data[text->len - 1] != '\n') {
        buf_add_char(text, '\n');
    }
    buf_add_str(text, "node ");
    kdl_print_string(text, node->name, strlen(node->name));
    buf_add_char(text, ' ');
    kdl_print_string(text, node->address, strlen(node->address));
    add_property(text, "data-dir", node->data_dir);
    add_property(text, "vmctl", node->program);
    buf_add_char(text, '\n');
}

/* A node that shares its line, or has several, is refused: the file is the user's. */
static int drop_line(struct buf *text, const struct nodes *nodes, const struct node *node,
    const char *path, struct error *err)
{
    cleanup_with(nodes_clear) struct nodes rest = {.count = 0};
    struct buf out = BUF_INIT(NODES_MAX_BYTES);
    uint32_t line = 1;
    for (const char *at = buf_str(text), *end = at + text->len; at < end; line++) {
        size_t n = (size_t)(end - at);
        const char *newline = memchr(at, '\n', n);
        n = newline ? (size_t)(newline - at) + 1 : n;
        if (line != node->line) {
            buf_add(&out, at, n);
        }
        at += n;
    }
    nodes_parse(buf_str(&out), out.len, &rest);
    if (rest.problems->n_diagnostics > 0 || rest.count + 1 != nodes->count ||
        nodes_find(&rest, node->name)) {
        buf_clear(&out);
        (void)error_set(
            err, ERR_USAGE, "node '%s' is not on a line of its own in '%s'", node->name, path);
        return error_help(err, "remove it there by hand");
    }
    buf_clear(text);
    *text = out;
    return 0;
}

/* One change at a time: `add`, else the node called `name` goes. */
static int change(
    const struct cli *cli, const char *name, const struct node *add, struct error *err)
{
    cleanup_free char *path = nodes_path();
    cleanup_free char *dir = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    cleanup_free char *lock = mem_printf("%s.lock", path);
    cleanup_close int lock_fd = -1;
    cleanup_buf struct buf text = BUF_INIT(NODES_MAX_BYTES);
    cleanup_with(nodes_clear) struct nodes nodes = {.count = 0};
    int rc = fs_make_dirs(dir, 0700, err);
    rc = rc == 0 ? lockfile_take(lock, &lock_fd, err) : rc;
    if (rc == -ERR_VM_CONFLICT) {
        return error_help(err, "another vmctl is changing '%s': try again", path);
    }
    rc = rc == 0 ? read_nodes(cli, path, &text, &nodes, err) : rc;
    if (rc != 0) {
        return rc;
    }
    const struct node *node = nodes_find(&nodes, name);
    if (add && node) {
        (void)error_set(err, ERR_VM_CONFLICT, "node '%s' exists already: %s", name, node->address);
        return error_help(err, "to replace it: vmctl node rm %s", name);
    }
    if (!add && !node) {
        (void)error_set(err, ERR_USAGE, "there is no node '%s'", name);
        return error_help(err, "see: vmctl node list");
    }
    if (add) {
        add_line(&text, add);
    }
    rc = add ? 0 : drop_line(&text, &nodes, node, path, err);
    return rc < 0 ? rc : fs_write_file(path, buf_str(&text), text.len, 0600, err);
}

int nodes_add(const struct cli *cli, const struct node *node, struct error *err)
{
    return change(cli, node->name, node, err);
}

int nodes_remove(const struct cli *cli, const char *name, struct error *err)
{
    return change(cli, name, NULL, err);
}

int node_refuse(const struct node *node, const struct part *part, struct error *err)
{
    enum { NO_COMMAND = 127 };
    const struct buf *lines = part->err.len > 0 ? &part->err : &part->last;
    cleanup_free char *said = text_last_line(buf_str(lines), lines->len);
    (void)error_set(err, ERR_NODE, "node '%s' (%s) %s%s%s", node->name, node->address,
        part->is_late ? "does not answer" : "cannot be used", said[0] ? ": " : "", said);
    return part->status == NO_COMMAND ? error_help(err,
                                            "install vmctl there, or give its path: node \"%s\" "
                                            "\"%s\" vmctl=\"/path/to/vmctl\"",
                                            node->name, node->address)
                                      : -ERR_NODE;
}
