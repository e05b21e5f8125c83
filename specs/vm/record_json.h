/* SPDX-License-Identifier: MPL-2.0 */
/* Reads records from JSON that is a tree already; anything but an object is an error. The caller
 * owns them. */
#pragma once

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/json.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

#define DEFINE_FROM_JSON_(prefix)                                                                  \
    static inline struct prefix *prefix##_from_json(const json_t *json, struct error *err)         \
    {                                                                                              \
        cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);                \
        return prefix##_read((struct bytes){text, text ? strlen(text) : 0}, err);                  \
    }
DEFINE_FROM_JSON_(vm_spec)
DEFINE_FROM_JSON_(vm_desired)
DEFINE_FROM_JSON_(vm_status)
