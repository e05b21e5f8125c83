/* SPDX-License-Identifier: MPL-2.0 */
/* A change as JSON, for a request that another process executes. Has only the parts that apply to a
 * VM of another host: no snapshots, copies, volumes or owners. */
#pragma once

#include "specs/base/json.h"
#include "store/desired/change_decide.h"

struct error;

json_t *change_to_json(const struct change *change); /* caller owns */

/* A change and the data it points to. */
struct change_copy {
    struct change change;
    char *name, *source;
    struct vm_spec *spec;
};

/* ERR_STORE: the JSON has no name, or a spec that cannot be read. The caller calls
 * change_copy_clear() in any case. */
int change_from_json(const json_t *json, struct change_copy *ret, struct error *err);
void change_copy_clear(struct change_copy *copy);
