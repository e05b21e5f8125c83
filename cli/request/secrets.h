/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The secrets of provision steps that only this command can have: those of its environment, and
 * those that another program prints. vmctld is handed them before it is asked for the steps, over
 * its socket (controller/secrets.h), and keeps them in memory.
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
