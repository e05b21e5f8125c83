/* SPDX-License-Identifier: MPL-2.0 */
/* What `vmctl image` prints, in the output format asked for. */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"

struct cli;

void image_print_catalog(const struct cli *cli, const json_t *catalog); /* image_catalog.h */
void image_print_one(const struct cli *cli, const json_t *image);

/* The controller's answers (specs/image/image_request.h). */
void image_print_pulled(const struct cli *cli, const json_t *answer);
void image_print_removed(const struct cli *cli, const json_t *answer, bool is_dry_run);
