/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the validity dates of a certificate, which no linked library reports. libcurl checks its
 * signature and everything else. */
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

/* Also fails for a certificate that has expired or is not valid yet: -ERR_FLEET_TLS, with the date.
 */
int certificate_check(const char *path, struct error *err);

/* The same for a certificate's bytes, in DER. */
int certificate_parse(const struct bytes *der, struct certificate_dates *ret, struct error *err);
