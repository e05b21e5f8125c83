/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/backend_traits.h"

#include "specs/base/cleanup.h"
#include "specs/vm/propolis.h"
#include "specs/vm/vm_spec_names.h"

const struct backend_traits *backend_traits(enum backend_kind kind)
{
    static const struct backend_traits traits[] = {
        [BACKEND_QEMU] = {.handle = "pid", .handle_label = "PID:"},
        [BACKEND_PROPOLIS] = {.is_fixed = true,
            .handle = "zone",
            .handle_label = "Zone ID:",
            .console_url = propolis_console_url},
        [BACKEND_NOOP] = {.handle = "pid", .handle_label = "PID:"},
    };
    _Static_assert(ARRAY_LEN(traits) == BACKEND_COUNT_, "every backend has them");
    return &traits[kind];
}

const struct backend_traits *backend_traits_named(const char *name)
{
    int kind = enum_names_find(&backend_kind_words, name);
    return backend_traits(kind < 0 ? BACKEND_QEMU : (enum backend_kind)kind);
}
