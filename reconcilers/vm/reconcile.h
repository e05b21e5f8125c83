/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The reconciler of VMs: what controller/main.c plugs into the controller.
 *
 * One pass: acknowledge a new wish -> take in the outcome of a finished operation -> observe ->
 * decide -> act -> describe in conditions. Each of the first two ends the pass when it changed
 * something, because decisions are only made on what is committed.
 */
#pragma once

#include "controller/reconciler.h"

/* `host` is borrowed and outlives the reconciler. Freed by its own free(). */
struct reconciler *vm_reconciler_new(struct reconciler_host *host);

/* struct image_pins' function over what vm_reconciler_new() returned. */
void vm_reconciler_each_pin(void *reconciler, image_pin_fn *pin, void *context);
