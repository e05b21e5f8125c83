/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/backend_traits.h"

#include "specs/base/cleanup.h"
#include "specs/vm/propolis.h"

const struct backend_traits *backend_traits(enum backend_kind kind)
{
    static const struct backend_traits traits[] = {
        [BACKEND_QEMU] = {.copies_used_disk = true, .handle = "pid", .handle_label = "PID:"},
        [BACKEND_PROPOLIS] = {.is_fixed = true,
            .handle = "zone",
            .handle_label = "Zone ID:",
            .console_url = propolis_console_url},
        [BACKEND_NOOP] = {.copies_used_disk = true, .handle = "pid", .handle_label = "PID:"},
    };
    _Static_assert(ARRAY_LEN(traits) == BACKEND_COUNT_, "every backend has them");
    return &traits[kind];
}
