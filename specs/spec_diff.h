/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What changed between two specs, field by field, and what each change needs on a VM that exists:
 * nothing but writing it down, the next start, or a new disk. The dispositions are those of the
 * table in specs/VMFILE.md. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/json.h"
#include "specs/vm_spec.h"

enum disposition {
    DISPOSITION_LIVE,      /* takes effect on the running VM */
    DISPOSITION_PROVISION, /* the steps changed: they run again when asked */
    DISPOSITION_RESTART,   /* takes effect at the next start */
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

struct spec_diff spec_diff(const struct vm_spec *before, const struct vm_spec *after);
void spec_diff_clear(struct spec_diff *diff);

/* "live", "provision", "restart", "recreate". Static text. */
const char *disposition_name(enum disposition disposition);
