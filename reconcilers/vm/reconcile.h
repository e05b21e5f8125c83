/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The reconciler of VMs: what controller/main.c plugs into the controller.
 *
 * One pass: observe a new generation of the desired record -> record the outcome of a finished
 * operation -> observe the machine -> decide -> act -> describe in conditions. An action that only
 * adds to the record is followed by the next decision in the same pass, and all of it is one
 * commit; one with an effect waits until what it was decided on is committed
 * (pass_may_precede_commit()).
 */
#pragma once

#include "controller/reconciler.h"
#include "reconcilers/image/image_removal.h"

/* `host` is borrowed and outlives the reconciler. Freed by its own free(). */
struct reconciler *vm_reconciler_new(struct reconciler_host *host);

/* struct image_pins' function over what vm_reconciler_new() returned. */
void vm_reconciler_each_pin(void *reconciler, image_pin_fn *pin, void *context);
