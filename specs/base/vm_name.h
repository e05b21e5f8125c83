/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Names of VMs as the store has them: "web", or "shop/web" of the VM that a VMFile of project
 * "shop" calls "web". Volumes are named alike. A name is kept, compared and printed as a whole;
 * these are the places where it becomes another one:
 *
 *   "shop+web"   the name of a file or directory, and a host for ssh(1): no VM can be called so
 *   "web"        in the guest, and on the project's network
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strings;

enum {
    VM_NAME_MAX = 63,      /* of a name without its project, … */
    PROJECT_NAME_MAX = 63, /* … and of the project's: a label of the domain name system */
    VM_FULL_NAME_MAX = PROJECT_NAME_MAX + 1 + VM_NAME_MAX,
};

/* Letters, digits, '.', '_' and '-', a letter or digit first, at most VM_NAME_MAX. */
bool vm_name_is_plain(const char *name);
/* Lower-case letters, digits and '-', a letter or digit first and last, at most PROJECT_NAME_MAX;
 * not "local", which is this host among others. */
bool project_name_is_valid(const char *project);
/* A plain name, or that of a project, '/' and a plain name. */
bool vm_name_is_valid(const char *name);

/* NAME behind "PROJECT/", or all of it. Borrowed. */
const char *vm_name_plain(const char *name);
/* free() it. NULL: the VM is of no project. */
char *vm_name_project(const char *name);
bool vm_name_is_of(const char *name, const char *project); /* NULL: of no project */

/* Leaves the names that are of the project. */
void vm_names_keep(struct strings *names, const char *project);

/* `name` itself if it has a project or `project` is NULL. free() it. */
char *vm_name_in(const char *project, const char *name);

/* The name of its files. free() it. */
char *vm_name_flat(const char *name);
void vm_name_flatten(char *name); /* the same in its place */
/* That of its sockets, whose paths are short: "web", and "web+0123abcd" of a project's. free() it.
 */
char *vm_name_of_socket(const char *name);
/* The opposite of vm_name_flat(). free() it. NULL: no name of a VM becomes that. */
char *vm_name_of_flat(const char *flat);
