/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/spec_diff.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_text.h"

bool spec_can_add_vcpus(const struct vm_spec *running, const struct vm_spec *wanted)
{
    return wanted->vcpus == running->vcpus ||
           (wanted->vcpus > running->vcpus && wanted->vcpus <= running->max_vcpus);
}

bool spec_can_add_memory(const struct vm_spec *running, const struct vm_spec *wanted)
{
    uint32_t now_mib = running->memory_mib, mib = wanted->memory_mib;
    return mib == now_mib || (mib > now_mib && mib <= running->max_memory_mib &&
                                 (mib - now_mib) % SPEC_MEMORY_BLOCK_MIB == 0);
}

bool spec_can_limit_memory(const struct vm_spec *running, const struct vm_spec *wanted)
{
    uint32_t limit_mib = wanted->memory_limit_mib;
    return limit_mib == 0 || limit_mib >= spec_least_memory_limit_mib(running->memory_mib);
}

/* Another network mode takes effect at the next start, with its forwards. */
static bool can_change_forwards(const struct vm_spec *running, const struct vm_spec *wanted)
{
    return spec_network_is_same(&running->network, &wanted->network);
}

/* A project network's switch takes them up at once. */
static bool can_change_ways(const struct vm_spec *running, const struct vm_spec *wanted)
{
    return running->network.mode == NETWORK_PROJECT && wanted->network.mode == NETWORK_PROJECT;
}

/* One of their members is different, but for those that a switch takes up at once. */
static bool is_further_live(const struct vm_spec *running, const struct vm_spec *wanted)
{
    static const char *const live[] = {"hostServices", "isolated", "egress"};
    bool is_live = running->n_further_networks == wanted->n_further_networks;
    for (size_t i = 0; is_live && i < running->n_further_networks; i++) {
        const struct spec_network *old = &running->further_networks[i];
        const struct spec_network *new = &wanted->further_networks[i];
        struct spec_network *changed = fields_copy(&spec_network_fields, old);
        for (size_t at = 0; new->mode == NETWORK_PROJECT &&at < ARRAY_LEN(live); at++) {
            (void)fields_take(&spec_network_fields, changed, new, live[at]);
        }
        is_live = fields_equal(&spec_network_fields, changed, new);
        fields_free(&spec_network_fields, changed);
    }
    return is_live;
}

/* A field of the VMFile: its row among vm_spec_fields and the disposition of a change. */
static const struct vmfile_field {
    const char *name;
    const char *path;
    enum disposition disposition;
    /* DISPOSITION_LIVE where it returns true; NULL: never */
    bool (*is_live)(const struct vm_spec *running, const struct vm_spec *wanted);
} vmfile_fields[] = {
    {"backend", "backend", DISPOSITION_RECREATE, NULL},
    {"propolis-server", "propolisServer", DISPOSITION_RESTART, NULL},
    {"image", "image", DISPOSITION_RECREATE, NULL},
    {"vcpus", "vcpus", DISPOSITION_RESTART, spec_can_add_vcpus},
    {"memory", "memoryMib", DISPOSITION_RESTART, spec_can_add_memory},
    {"max-vcpus", "maxVcpus", DISPOSITION_RESTART, NULL},
    {"max-memory", "maxMemoryMib", DISPOSITION_RESTART, NULL},
    {"cpu-limit", "cpuLimitMilli", DISPOSITION_LIVE, NULL},
    {"memory-limit", "memoryLimitMib", DISPOSITION_RESTART, spec_can_limit_memory},
    {"disk", "diskGib", DISPOSITION_LIVE, NULL},
    {"io-limit", "ioLimit", DISPOSITION_LIVE, NULL},
    {"volume", "volumes", DISPOSITION_LIVE, NULL},
    {"further disk", "disks", DISPOSITION_RESTART, NULL},
    {"share", "shares", DISPOSITION_RESTART, NULL},
    {"network", "network.mode", DISPOSITION_RESTART, NULL},
    {"bridge", "network.bridge", DISPOSITION_RESTART, NULL},
    {"vnic", "network.vnic", DISPOSITION_RESTART, NULL},
    {"address", "network.address", DISPOSITION_RESTART, NULL},
    {"mac", "network.mac", DISPOSITION_RESTART, NULL},
    {"network name", "network.network", DISPOSITION_RESTART, NULL},
    {"network range", "network.range", DISPOSITION_RESTART, NULL},
    {"forward", "network.forwards", DISPOSITION_RESTART, can_change_forwards},
    {"forward socket", "network.sockets", DISPOSITION_LIVE, NULL},
    {"forward \"auto\"", "network.autoForward", DISPOSITION_LIVE, NULL},
    {"host-services", "network.hostServices", DISPOSITION_RESTART, can_change_ways},
    {"isolate", "network.isolated", DISPOSITION_RESTART, can_change_ways},
    {"egress", "network.egress", DISPOSITION_RESTART, can_change_ways},
    {"further network", "furtherNetworks", DISPOSITION_RESTART, is_further_live},
    {"vnc", "vnc", DISPOSITION_RESTART, NULL},
    {"cloud-init", "cloudInit.isSet", DISPOSITION_RECREATE, NULL},
    {"hostname", "cloudInit.hostname", DISPOSITION_RECREATE, NULL},
    {"ssh-key", "cloudInit.sshKey", DISPOSITION_RECREATE, NULL},
    {"user-data", "cloudInit.userData", DISPOSITION_RECREATE, NULL},
    {"user-data raw", "cloudInit.userDataJoined", DISPOSITION_RECREATE, NULL},
    {"further user-data", "cloudInit.furtherUserData", DISPOSITION_RECREATE, NULL},
    {"vendor-data", "cloudInit.vendorData", DISPOSITION_RECREATE, NULL},
    {"network-config", "cloudInit.networkConfig", DISPOSITION_RECREATE, NULL},
    {"seed", "cloudInit.seedBus", DISPOSITION_RESTART, NULL},
    {"on-error", "cloudInit.onError", DISPOSITION_LIVE, NULL},
    {"ssh", "ssh", DISPOSITION_LIVE, NULL},
    {"provision", "provision", DISPOSITION_PROVISION, NULL},
    {"ready", "ready", DISPOSITION_LIVE, NULL},
    {"live", "live", DISPOSITION_LIVE, NULL},
    {"depends-on", "dependsOn", DISPOSITION_LIVE, NULL},
    {"label", "labels", DISPOSITION_LIVE, NULL},
    {"protect", "protected", DISPOSITION_LIVE, NULL},
    {"accel", "accel", DISPOSITION_RESTART, NULL},
    {"machine", "machine", DISPOSITION_RESTART, NULL},
    {"firmware", "firmware", DISPOSITION_RECREATE, NULL},
    {"tpm", "tpm", DISPOSITION_RESTART, NULL},
    {"restart", "restart", DISPOSITION_LIVE, NULL},
    {"autostart", "autostart", DISPOSITION_LIVE, NULL},
    {"warm", "warm", DISPOSITION_LIVE, NULL},
    {"stop-timeout", "stopTimeoutSeconds", DISPOSITION_LIVE, NULL},
};

static void spec_diff_add_change(struct spec_diff *diff, const char *field, json_t *before_take,
    json_t *after_take, enum disposition disposition)
{
    char *before, *after;
    spec_text_change(field, before_take, after_take, &before, &after);
    mem_grow(diff->changes, diff->count);
    diff->changes[diff->count++] = (struct spec_change){
        .field = field,
        .before = before,
        .after = after,
        .before_value = before_take,
        .after_value = after_take,
        .disposition = disposition,
    };
    if (disposition > diff->strongest) {
        diff->strongest = disposition;
    }
}

struct spec_diff spec_diff_on(
    const struct vm_spec *before, const struct vm_spec *after, const struct vm_spec *running)
{
    struct spec_diff diff = {.strongest = DISPOSITION_LIVE};
    bool is_same = vm_spec_equal(before, after); /* mostly: that costs a tenth */
    for (size_t i = 0; i < ARRAY_LEN(vmfile_fields) && !is_same; i++) {
        const struct vmfile_field *row = &vmfile_fields[i];
        const void *a, *b;
        const struct field *field = fields_find(&vm_spec_fields, before, row->path, &a);
        (void)fields_find(&vm_spec_fields, after, row->path, &b);
        bool is_live = row->is_live && row->is_live(running ? running : before, after);
        if (!field_equal(field, a, b)) {
            spec_diff_add_change(&diff, row->name, field_to_json(field, a), field_to_json(field, b),
                is_live ? DISPOSITION_LIVE : row->disposition);
        }
    }
    return diff;
}

struct spec_diff spec_diff(const struct vm_spec *before, const struct vm_spec *after)
{
    return spec_diff_on(before, after, NULL);
}

static void clear_change(struct spec_change *change)
{
    free(change->before);
    free(change->after);
    json_decref(change->before_value);
    json_decref(change->after_value);
}

void spec_diff_put_off(struct spec_diff *diff)
{
    static const char *const of_machine[] = {"disk", "cpu-limit", "memory-limit", "io-limit",
        "volume", "forward", "host-services", "isolate", "egress", "further network", "vcpus",
        "memory"};
    for (size_t i = 0; i < diff->count; i++) {
        struct spec_change *change = &diff->changes[i];
        for (size_t at = 0; at < ARRAY_LEN(of_machine); at++) {
            if (text_eq(change->field, of_machine[at]) && change->disposition == DISPOSITION_LIVE) {
                change->disposition = DISPOSITION_RESTART;
            }
        }
        diff->strongest =
            change->disposition > diff->strongest ? change->disposition : diff->strongest;
    }
}

void spec_diff_drop(struct spec_diff *diff, size_t i)
{
    clear_change(&diff->changes[i]);
    diff->count--;
    memmove(&diff->changes[i], &diff->changes[i + 1], (diff->count - i) * sizeof(diff->changes[i]));
}

void spec_diff_drop_field(struct spec_diff *diff, const char *field)
{
    diff->strongest = DISPOSITION_LIVE;
    for (size_t i = diff->count; i-- > 0;) {
        if (text_eq(diff->changes[i].field, field)) {
            spec_diff_drop(diff, i);
        } else if (diff->changes[i].disposition > diff->strongest) {
            diff->strongest = diff->changes[i].disposition;
        }
    }
}

void spec_diff_clear(struct spec_diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        clear_change(&diff->changes[i]);
    }
    free(diff->changes);
    *diff = (struct spec_diff){.strongest = DISPOSITION_LIVE};
}

const char *disposition_name(enum disposition disposition)
{
    static const char *const names[] = {
        [DISPOSITION_LIVE] = "live",
        [DISPOSITION_START] = "start",
        [DISPOSITION_PROVISION] = "provision",
        [DISPOSITION_RESTART] = "restart",
        [DISPOSITION_RECREATE] = "recreate",
    };
    _Static_assert(ARRAY_LEN(names) == DISPOSITION_COUNT_, "every disposition has a name");
    return names[disposition];
}
