/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/vm_name.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/mem.h"
#include "specs/base/strings.h"
#include "specs/base/text.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define ALL LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_of(const char *text, const char *first, const char *all, size_t max)
{
    size_t n = text ? strspn(text, all) : 0;
    return n > 0 && text[n] == '\0' && n <= max && strchr(first, text[0]);
}

bool vm_name_is_plain(const char *name)
{
    return is_of(name, ALL, ALL "._-", VM_NAME_MAX);
}

bool project_name_is_valid(const char *project)
{
    return is_of(project, LOWER, LOWER "-", PROJECT_NAME_MAX) &&
           project[strlen(project) - 1] != '-' && !text_eq(project, "local");
}

bool vm_name_is_valid(const char *name)
{
    cleanup_free char *project = name ? vm_name_project(name) : NULL;
    return project ? project_name_is_valid(project) && vm_name_is_plain(vm_name_plain(name))
                   : vm_name_is_plain(name);
}

const char *vm_name_plain(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? slash + 1 : name;
}

char *vm_name_project(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? mem_strndup(name, (size_t)(slash - name)) : NULL;
}

bool vm_name_is_of(const char *name, const char *project)
{
    cleanup_free char *own = vm_name_project(name);
    return text_eq(own, project);
}

void vm_names_keep(struct strings *names, const char *project)
{
    struct strings kept = {.count = 0};
    for (size_t i = 0; i < names->count; i++) {
        if (vm_name_is_of(names->items[i], project)) {
            strings_append(&kept, names->items[i]);
        }
    }
    strings_clear(names);
    *names = kept;
}

char *vm_name_in(const char *project, const char *name)
{
    return project && !strchr(name, '/') ? mem_printf("%s/%s", project, name) : mem_strdup(name);
}

char *vm_name_flat(const char *name)
{
    char *flat = mem_strdup(name);
    vm_name_flatten(flat);
    return flat;
}

void vm_name_flatten(char *name)
{
    char *slash = strchr(name, '/');
    if (slash) {
        *slash = '+';
    }
}

char *vm_name_of_socket(const char *name)
{
    enum { DIGITS = 8 };
    char digest[DIGEST_SIZE];
    cleanup_free char *project = vm_name_project(name);
    digest_text(project ? project : "", digest);
    return project ? mem_printf("%s+%.*s", vm_name_plain(name), DIGITS, digest) : mem_strdup(name);
}

char *vm_name_of_flat(const char *flat)
{
    char *name = mem_strdup(flat), *plus = strchr(name, '+');
    bool has_slash = strchr(name, '/') != NULL;
    if (plus) {
        *plus = '/';
    }
    if (has_slash || !vm_name_is_valid(name)) {
        free(TAKE_PTR(name));
    }
    return name;
}
