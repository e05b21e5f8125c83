/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One vmctld a data directory: whoever holds DATA/controller.lock. The kernel lets go of it with
 * the process, however that ends, so there is no lease to wait for and no stale file to clear.
 */
#pragma once

struct error;
struct paths;

/* Returns 0 and *ret_fd (close it to let go), or -ERR_VM_CONFLICT when another one runs. */
int instance_take(const struct paths *paths, int *ret_fd, struct error *err);
