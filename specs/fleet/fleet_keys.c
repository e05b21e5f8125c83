/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/fleet/fleet_keys.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vmfile/nodes_file.h"

static const struct {
    const char *word;
    bool has_first, has_second, is_first_vm;
} kinds[] = {
    [FLEET_KIND_FLEET] = {"fleet", false, false, false},
    [FLEET_KIND_NODE] = {"node", true, false, false},
    [FLEET_KIND_ALIVE] = {"alive", true, false, false},
    [FLEET_KIND_REG] = {"reg", true, false, false},
    [FLEET_KIND_HOLD] = {"hold", true, false, false},
    [FLEET_KIND_NAME] = {"name", true, false, true},
    [FLEET_KIND_VM] = {"vm", true, true, false},
    [FLEET_KIND_STATUS] = {"st", true, true, false},
    [FLEET_KIND_IN] = {"in", true, true, false},
    [FLEET_KIND_GONE] = {"gone", true, true, false},
    [FLEET_KIND_LINK] = {"link", false, false, false},
    [FLEET_KIND_LOST] = {"lost", true, false, false},
    [FLEET_KIND_ASK] = {"ask", true, false, false},
    [FLEET_KIND_FETCHED] = {"fetched", true, false, true},
};
_Static_assert(ARRAY_LEN(kinds) == FLEET_KIND_COUNT_, "every kind has a word");

char *fleet_row(enum fleet_kind kind, const char *first, const char *second)
{
    cleanup_free char *flat_first =
        first && kinds[kind].is_first_vm ? vm_name_flat(first) : mem_strdup(first);
    cleanup_free char *flat_second = second ? vm_name_flat(second) : NULL;
    return mem_printf("%s%s%s%s%s", kinds[kind].word, first ? "/" : "", first ? flat_first : "",
        second ? "/" : "", second ? flat_second : "");
}

/* Whether what is behind the word are the parts that such a key has. */
static bool take_parts(struct fleet_key *key, const char *rest)
{
    const char *slash = *rest ? strchr(rest + 1, '/') : NULL;
    bool has_second = slash && slash[1] && !strchr(slash + 1, '/');
    if (!kinds[key->kind].has_first) {
        return !*rest;
    }
    if (*rest != '/' || !rest[1] || slash == rest + 1 ||
        (slash != NULL) != kinds[key->kind].has_second || (slash && !has_second)) {
        return false;
    }
    cleanup_free char *first =
        slash ? mem_strndup(rest + 1, (size_t)(slash - rest - 1)) : mem_strdup(rest + 1);
    key->first = kinds[key->kind].is_first_vm ? vm_name_of_flat(first) : mem_strdup(first);
    key->second = slash ? vm_name_of_flat(slash + 1) : NULL;
    bool is_node = !kinds[key->kind].is_first_vm && key->kind != FLEET_KIND_ASK;
    return key->first && (!is_node || node_name_is_valid(first)) && (!slash || key->second);
}

struct fleet_key fleet_row_parse(const char *row)
{
    size_t n = strcspn(row, "/");
    for (int i = 0; i < FLEET_KIND_COUNT_; i++) {
        struct fleet_key key = {.kind = (enum fleet_kind)i};
        if (strlen(kinds[i].word) != n || strncmp(kinds[i].word, row, n) != 0) {
            continue;
        }
        if (take_parts(&key, row + n)) {
            return key;
        }
        fleet_key_clear(&key);
        break;
    }
    return (struct fleet_key){.kind = FLEET_KIND_OTHER};
}

void fleet_key_clear(struct fleet_key *key)
{
    free(TAKE_PTR(key->first));
    free(TAKE_PTR(key->second));
}

char *fleet_prefix(const char *fleet)
{
    return mem_printf(FLEET_ROOT "%s/", fleet);
}

char *fleet_file_key(const char *fleet, const char *vm, const char *digest)
{
    cleanup_free char *flat = vm_name_flat(vm);
    return mem_printf(FLEET_ROOT "%s+file/%s/%s", fleet, flat, digest);
}

bool fleet_name_is_valid(const char *name)
{
    return project_name_is_valid(name);
}
