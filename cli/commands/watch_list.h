/* SPDX-License-Identifier: MPL-2.0 */
/* What `watch --list` prints. */
#pragma once

struct cli;
struct error;
struct strings;

/* The watched files and directories; of these paths only unless NULL. */
int watch_list(struct cli *cli, const struct strings *paths, struct error *err);
