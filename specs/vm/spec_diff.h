/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What changed between two specs, field by field, and what each change needs on a VM that exists:
 * only the new record, the next start, or a new disk. The dispositions are those of the
 * table in specs/VMFILE.md. Pure.
 *
 * On a VM as it is, some need less: store/desired/impact.h. And some depend on the values: CPUs and
 * memory are added to a running VM as far as it was started with room for them (`max-vcpus`,
 * `max-memory`), all other changes of them need a restart.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/json.h"
#include "specs/vm/vm_spec.h"

enum disposition {
    DISPOSITION_LIVE,      /* takes effect on the running VM */
    DISPOSITION_START,     /* no VM runs: takes effect at the next start */
    DISPOSITION_PROVISION, /* the steps changed: they run again on request */
    DISPOSITION_RESTART,   /* the running VM has it only after a restart */
    DISPOSITION_RECREATE,  /* needs a new disk: reload */
    DISPOSITION_COUNT_
};

struct spec_change {
    const char *field; /* as in a VMFile: "memory", "network". Static */
    char *before;      /* short, for people; owned by the list */
    char *after;
    json_t *before_value; /* the same in full, as in vm_spec_to_json(); NULL: not set */
    json_t *after_value;
    enum disposition disposition;
};

struct spec_diff {
    struct spec_change *changes; /* in a fixed order of fields */
    size_t count;
    enum disposition strongest; /* DISPOSITION_LIVE when there is no change */
};

/* `running` is the spec of the instance that the changes are for; NULL: of `before`. */
struct spec_diff spec_diff_on(
    const struct vm_spec *before, const struct vm_spec *after, const struct vm_spec *running);
struct spec_diff spec_diff(const struct vm_spec *before, const struct vm_spec *after);
void spec_diff_clear(struct spec_diff *diff);
/* For a running machine that cannot be changed: its live changes need a restart. */
void spec_diff_put_off(struct spec_diff *diff);
/* Removes the change at index `i`; `strongest` stays. */
void spec_diff_drop(struct spec_diff *diff, size_t i);
/* Removes the change of a field, if there is one, and finds `strongest` again. */
void spec_diff_drop_field(struct spec_diff *diff, const char *field);

/*
 * Whether an instance of the spec `running` can be given the CPUs, the memory, of `wanted` while it
 * runs. Memory comes in blocks of SPEC_MEMORY_BLOCK_MIB: the size that Linux adds on x86
 * (Documentation/admin-guide/mm/memory-hotplug.rst, "memory block").
 */
enum { SPEC_MEMORY_BLOCK_MIB = 128 };
bool spec_can_add_vcpus(const struct vm_spec *running, const struct vm_spec *wanted);
bool spec_can_add_memory(const struct vm_spec *running, const struct vm_spec *wanted);

/* Whether it can have the `memory-limit` of `wanted` with the memory that it has. */
bool spec_can_limit_memory(const struct vm_spec *running, const struct vm_spec *wanted);

/* "live", "start", "provision", "restart", "recreate". Static text. */
const char *disposition_name(enum disposition disposition);
