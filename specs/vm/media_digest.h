/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Digest of the sources of a VM's files that only a recreation changes: the image and the seed's
 * contents. The bytes of the seed's files count, not their paths. Recorded in vm_prepared.digest;
 * one that differs from the spec's means "recreate required". Pure.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/digest.h"

struct vm_spec;

void spec_media_digest(const struct vm_spec *spec, char ret_digest[DIGEST_SIZE]);

/* Of the seed's contents alone: the same image may be found at another place. */
void spec_seed_digest(const struct vm_spec *spec, char ret_digest[DIGEST_SIZE]);

/* Whether a guest whose disk was made with a seed of this digest ("" not recorded) has the spec's
 * `cloud-init`, or an earlier form of it. Not one that was made without: a `cloud-init` that was
 * added since waits for a new disk. */
bool spec_has_seed(const struct vm_spec *spec, const char *seed_digest);
