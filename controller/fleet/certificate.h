/* SPDX-License-Identifier: MPL-2.0 */
/* When a certificate begins and ends to be valid, which nothing that we link reports. Its signature
 * and everything else are libcurl's to check. */
#pragma once

#include <stdint.h>

struct bytes;
struct error;

struct certificate_dates {
    int64_t from_ms; /* wall clock */
    int64_t until_ms;
};

/* Of the first certificate in the file, which is PEM. -ERR_FLEET_TLS: it cannot be read. */
int certificate_read(const char *path, struct certificate_dates *ret, struct error *err);

/* -ERR_FLEET_TLS as well for one that has expired, or is not valid yet, with the date. */
int certificate_check(const char *path, struct error *err);

/* Of a certificate's bytes, in DER. */
int certificate_parse(const struct bytes *der, struct certificate_dates *ret, struct error *err);
