/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include "reconcilers/backend/backend.h"

/* Maps QEMU's name of a state (qapi/run-state.json, enum RunState); NULL and unknown names are
 * RUN_STATE_UNKNOWN. */
enum run_state run_state_from_qemu(const char *word);
