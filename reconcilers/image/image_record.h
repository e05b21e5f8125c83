/* SPDX-License-Identifier: MPL-2.0 */
/* The image table's record of what a URL, or an image's name, gave. */
#pragma once

#include "specs/base/json.h"

struct image_work;
struct oci_layer;
struct reconciler_host;

/* The record of the download; `layer` zero: nothing was looked up. NULL: the table has it already.
 */
json_t *image_record_new(
    struct reconciler_host *host, const struct image_work *work, const struct oci_layer *layer);
