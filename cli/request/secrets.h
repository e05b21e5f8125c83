/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Collects the secrets of provision steps that only this command can read: from its environment,
 * and from programs. It hands them to vmctld over its socket (controller/secrets.h) before it
 * requests the steps; vmctld keeps them in memory.
 */
#pragma once

#include <stddef.h>

struct change;
struct cli;
struct error;

/* Gets the secrets of the steps that are going to run for the changes, and hands them over; starts
 * a vmctld for that. Says which programs it runs. Nothing is written before: -ERR_SECRET: one
 * cannot be had; -ERR_CONTROLLER. */
int secrets_hand_over(
    struct cli *cli, const struct change *changes, size_t count, struct error *err);
