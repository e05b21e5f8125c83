/* SPDX-License-Identifier: MPL-2.0 */
/* What `watch --list` prints. */
#pragma once

struct cli;
struct error;
struct texts;

/* The watched files and directories; of these paths only unless NULL. */
int watch_list(struct cli *cli, const struct texts *paths, struct error *err);
