/* SPDX-License-Identifier: MPL-2.0 */
/* JSON as block-style YAML 1.2 (and so that YAML 1.1 readers see the same): keys sorted, strings
 * quoted wherever they could be read as something else. */
#pragma once

#include "specs/base/json.h"

struct buf;

void yaml_add(struct buf *out, const json_t *value);
