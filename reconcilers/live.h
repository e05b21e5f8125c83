/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What of a changed spec takes effect on the running machine: host forwards and a larger disk. The
 * backend's boot() brings both in line and may be run again at any time.
 */
#pragma once

#include <stdbool.h>

struct pass;

/* Whether the running instance lacks a live change of the desired spec. */
bool live_is_pending(const struct pass *pass);

/* Records in the patch that the instance now has them. */
void live_record(struct pass *pass);
