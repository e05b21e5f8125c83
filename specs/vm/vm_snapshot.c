/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/vm_snapshot.h"

#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/vm/vm_spec.h"

DEFINE_WORDS(snapshot_verb, enum snapshot_verb, SNAPSHOT_VERB_COUNT_, [SNAPSHOT_CREATE] = "create",
    [SNAPSHOT_RESTORE] = "restore", [SNAPSHOT_REMOVE] = "rm")

bool snapshot_name_is_valid(const char *name)
{
    return vm_spec_name_is_valid(name) && strlen(name) < SNAPSHOT_NAME_SIZE;
}
