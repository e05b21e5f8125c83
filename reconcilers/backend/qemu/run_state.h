/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include "reconcilers/backend/backend.h"

/* QEMU's word (qapi/run-state.json, enum RunState) as what decisions need; NULL and unknown words
 * are RUN_STATE_UNKNOWN. */
enum run_state run_state_from_qemu(const char *word);
