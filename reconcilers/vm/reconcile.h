/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The reconciler of VMs: what controller/main.c plugs into the controller.
 *
 * One pass: observe a new generation of the desired record -> record the outcome of a finished
 * operation -> observe the machine -> decide -> act -> describe in conditions. When one of the
 * first two changed the status, the pass does not act, because it may only act on what is
 * committed.
 */
#pragma once

#include "controller/reconciler.h"
#include "reconcilers/image/image_removal.h"

/* `host` is borrowed and outlives the reconciler. Freed by its own free(). */
struct reconciler *vm_reconciler_new(struct reconciler_host *host);

/* struct image_pins' function over what vm_reconciler_new() returned. */
void vm_reconciler_each_pin(void *reconciler, image_pin_fn *pin, void *context);
