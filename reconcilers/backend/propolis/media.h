/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

struct vm_env;

/* The dataset the VM's disk is, or is to be: what prepare() noted, else by the pool of now.
 * free() it. */
char *propolis_dataset(const struct vm_env *env);
