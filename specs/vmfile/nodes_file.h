/* SPDX-License-Identifier: MPL-2.0 */
/*
 * nodes.kdl: other hosts with vmctl, by name, and how ssh(1) reaches them.
 *
 *   node "b" "me@b.lan"
 *   node "c" "ssh://me@c.lan:2222" data-dir="/srv/vmctl" vmctl="/opt/vmctl/bin/vmctl"
 *
 * Read by the rules of a VMFile, with the same diagnostics. Pure, but for nodes_path().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct vmfile;

struct node {
    char *name;
    char *address;  /* as ssh(1) takes it */
    char *data_dir; /* NULL: the user's own over there */
    char *program;  /* NULL: vmctl of the PATH over there */
    uint32_t line;  /* at which it begins */
};

struct nodes {
    struct node *items; /* in file order */
    size_t count;
    struct vmfile
        *problems; /* its diagnostics alone; with any of them the nodes must not be used */
};

/* What a VM's `node` and --node name this host by; no node can be called so. */
#define NODE_HERE "local"

/* Where it is: below $XDG_CONFIG_HOME, else below ~/.config. free() it. */
char *nodes_path(void);

/* … and what leaves the choice to the fleet: "any", or "any:ssd=yes", a node with that label. */
#define NODE_ANY "any"
bool node_is_any(const char *place); /* NULL is fine: it is not */

/* As a VM's name, and neither NODE_HERE nor NODE_ANY. */
bool node_name_is_valid(const char *name);
/* "host", "user@host", "ssh://user@host:port": visible characters, and no option of ssh's. */
bool node_address_is_valid(const char *address);
/* Absolute, or below "~" over there. */
bool node_data_dir_is_valid(const char *path);

void nodes_parse(const char *text, size_t size, struct nodes *ret);
void nodes_clear(struct nodes *nodes);                                      /* zeroed is fine */
const struct node *nodes_find(const struct nodes *nodes, const char *name); /* NULL: none */

/* Appends the diagnostics as vmfile_render_diagnostics() does; `path` is what they call the file.
 */
void nodes_render_problems(struct buf *out, const struct nodes *nodes, const char *text,
    size_t size, const char *path, bool use_color, unsigned columns);
