/* SPDX-License-Identifier: MPL-2.0 */
/* Images that are being downloaded ("get/" in specs/image/image_request.h), as text. */
#pragma once

#include "specs/base/json.h"

struct buf;
struct cli;
struct error;

/* Their records by key, as the running vmctld (`session`) writes them; those of an earlier one are
 * left out, and with "" all are. Opens the store. Caller owns *ret. */
int image_progress_read(struct cli *cli, const char *session, json_t **ret, struct error *err);

/* The record of this URL and sha256= (NULL: none); NULL: it is not being downloaded. Borrowed. */
const json_t *image_progress_of(const json_t *records, const char *url, const char *pin);

/* "debian.qcow2  ███████░░░  71%  148/210 MB  18.6 MB/s  3s left  for 30 VMs", without a line end.
 * The bar, then the name gets shorter until it fits. */
void image_progress_draw(struct buf *out, const json_t *record, unsigned columns);

/* "debian.qcow2". */
void image_progress_name(struct buf *out, const json_t *record);

/* "downloading 71%, 148/210 MB, 18.6 MB/s, 3s left, for 30 VMs". */
void image_progress_say(struct buf *out, const json_t *record);
