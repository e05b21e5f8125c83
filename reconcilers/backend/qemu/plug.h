/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Attaches and detaches the volumes of a running machine over QMP, and grows them. It queries what
 * the machine has and does one thing after the other until nothing differs, so a controller killed
 * in the middle resumes, and a second call does nothing.
 */
#pragma once

#include "reconcilers/backend/backend.h"
#include "specs/base/buf.h"

struct error;
struct machine;
struct plug;

/* Whether a machine has, or is to have, any. */
bool plug_is_needed(const struct vm_env *env);

/*
 * Gives the machine the volumes of the spec of `env`, and takes all others from it, for which the
 * guest is given PLUG_RELEASE_MS each. One that is being started has those of the spec it was
 * started with, and no guest yet that could release one: only its sizes are looked at. `done` is
 * called once, from the loop, after which the object may be freed; never during plug_start(), which
 * returns -ERR_QMP_CONNECT when QEMU does not answer. A text of what was done is appended to
 * `changes` ("volume data attached"). Errors: ERR_QMP_COMMAND with QEMU's message, ERR_MOUNT: the
 * guest does not release one, ERR_TIMEOUT, ERR_QMP_CONNECT, ERR_IO.
 */
enum { PLUG_RELEASE_MS = 15000 };
struct plug *plug_new(struct machine *machine, const struct vm_env *env, struct buf *changes,
    void (*done)(void *context, const struct error *err), void *context);
int plug_start(struct plug *plug, struct error *err);
void plug_free(struct plug *plug); /* NULL is fine; at any time: drops a pending reply */
