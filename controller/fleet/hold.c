/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/hold.h"

#include "controller/fleet/member.h"
#include "controller/fleet/mirror.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/fleet/fleet_keys.h"
#include "specs/vm/vm_spec.h"

struct sum {
    const char *left_out; /* a VM that is not counted; NULL: none */
    int64_t vcpus, memory_mib, vms;
};

/* Another user of etcd may have written anything there. */
static int64_t size_of(const json_t *spec, const char *name)
{
    int64_t size = json_int(spec, name, 0);
    return size < 0 ? 0 : size > INT32_MAX ? INT32_MAX : size;
}

static void add_spec(struct sum *sum, const json_t *desired)
{
    const json_t *spec = json_object_get(desired, "spec");
    sum->vcpus += size_of(spec, "vcpus");
    sum->memory_mib += size_of(spec, "memoryMib");
    sum->vms++;
}

static void add_promised(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    struct sum *sum = context;
    cleanup_json json_t *json = json_loads(row->text, 0, NULL);
    if (!text_eq(key->second, sum->left_out)) {
        add_spec(sum, json);
    }
}

struct coming {
    const struct member *member;
    struct sum *sum;
};

/* What is on its way to the node takes its room there. */
static void add_incoming(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    const struct coming *coming = context;
    const struct mirror *mirror = coming->member->mirror;
    cleanup_json json_t *incoming = json_loads(row->text, 0, NULL);
    const char *from = json_text(incoming, "from");
    cleanup_free char *vm_row = from ? fleet_row(FLEET_KIND_VM, from, key->second) : NULL;
    cleanup_json json_t *desired = from ? mirror_json(mirror, vm_row) : NULL;
    const char *to = json_text(json_object_get(desired, "fleet"), "moveTo");
    if (text_eq(to, key->first) && !text_eq(from, key->first) &&
        !text_eq(key->second, coming->sum->left_out)) {
        add_spec(coming->sum, desired);
    }
}

static void add_fleets(const struct member *member, const char *node, struct sum *sum)
{
    struct coming coming = {member, sum};
    mirror_each_of(member->mirror, FLEET_KIND_VM, node, add_promised, sum);
    mirror_each_of(member->mirror, FLEET_KIND_IN, node, add_incoming, &coming);
}

/* A node publishes what its own VMs are; of the fleet's only how they are. */
static void add_own(void *context, const struct fleet_key *key, const struct mirror_row *row)
{
    cleanup_json json_t *json = json_loads(row->text, 0, NULL);
    const json_t *desired = json_object_get(json, "desired");
    (void)key;
    if (desired && !text_eq(json_text(desired, "power"), "stopped")) {
        add_spec(context, desired);
    }
}

char *hold_text(
    const struct member *member, const char *node, const char *name, const struct vm_spec *spec)
{
    struct sum sum = {.left_out = name};
    cleanup_json json_t *json = json_object();
    add_fleets(member, node, &sum);
    json_put_int(json, "vcpus", sum.vcpus + (spec ? spec->vcpus : 0));
    json_put_int(json, "memMib", sum.memory_mib + (spec ? (int64_t)spec->memory_mib : 0));
    json_put_int(json, "vms", sum.vms + (spec ? 1 : 0));
    return json_dumps(json, JSON_COMPACT);
}

int hold_check(
    const struct member *member, const char *node, const struct vm_spec *spec, struct error *err)
{
    struct sum sum = {.left_out = spec->name};
    cleanup_free char *node_row = fleet_row(FLEET_KIND_NODE, node, NULL);
    cleanup_json json_t *json = mirror_json(member->mirror, node_row);
    add_fleets(member, node, &sum);
    mirror_each_of(member->mirror, FLEET_KIND_STATUS, node, add_own, &sum);
    int64_t left = json_int(json, "memMib", 0) - sum.memory_mib;
    if (left >= (int64_t)spec->memory_mib) {
        return 0;
    }
    (void)error_set(err, ERR_FLEET_NO_NODE,
        "node '%s' has %lld MiB of memory left, and vm '%s' needs %lld", node,
        (long long)(left > 0 ? left : 0), spec->name, (long long)spec->memory_mib);
    return error_help(err, "memory reserved for stopped VMs counts, too: vmctl list -A");
}
