/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/certificate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/text.h"

enum { FILE_MAX = 1 << 20, DER_MAX = 64 << 10, LENGTH_BYTES_MAX = 3 };

/* ITU-T X.690, 8.1: what begins a value of these types. */
enum {
    DER_INTEGER = 0x02,
    DER_UTC = 0x17,
    DER_GENERALIZED = 0x18,
    DER_SEQUENCE = 0x30,
    DER_VERSION = 0xa0
};

/* Cuts the first value off `from`; false when there is none. */
static bool der_take(struct bytes *from, uint8_t *ret_tag, struct bytes *ret_value)
{
    const uint8_t *at = (const uint8_t *)from->data;
    if (from->n < 2) {
        return false;
    }
    size_t n = at[1];
    size_t n_head = 2;
    if (n > 0x7f) {
        size_t n_length = n & 0x7f;
        if (n_length == 0 || n_length > LENGTH_BYTES_MAX || from->n < n_head + n_length) {
            return false;
        }
        for (n = 0; n_head < 2 + n_length; n_head++) {
            n = n << 8 | at[n_head];
        }
    }
    if (from->n - n_head < n) {
        return false;
    }
    *ret_tag = at[0];
    *ret_value = (struct bytes){from->data + n_head, n};
    *from = (struct bytes){from->data + n_head + n, from->n - n_head - n};
    return true;
}

static bool der_expect(struct bytes *from, uint8_t tag, struct bytes *ret_value)
{
    uint8_t got;
    return der_take(from, &got, ret_value) && got == tag;
}

/* RFC 5280, 4.1.2.5: years of two digits are 1950 to 2049; seconds and a Z are always there. */
static bool der_take_time(struct bytes *from, int64_t *ret_ms)
{
    uint8_t tag;
    struct bytes value;
    char text[20] = "";
    if (!der_take(from, &tag, &value) || (tag != DER_UTC && tag != DER_GENERALIZED) ||
        value.n != (tag == DER_UTC ? 13u : 15u)) {
        return false;
    }
    size_t n_century = tag == DER_UTC ? 2 : 0;
    if (tag == DER_UTC) {
        memcpy(text, value.data[0] < '5' ? "20" : "19", 2);
    }
    memcpy(text + n_century, value.data, value.n);
    struct tm tm = {0};
    const char *end = strptime(text, "%Y%m%d%H%M%S", &tm);
    if (!end || !text_eq(end, "Z")) {
        return false;
    }
    *ret_ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

int certificate_parse(const struct bytes *der, struct certificate_dates *ret, struct error *err)
{
    struct bytes left = *der;
    struct bytes certificate;
    struct bytes signed_part;
    struct bytes value;
    struct certificate_dates dates;
    bool is_read = der_expect(&left, DER_SEQUENCE, &certificate) &&
                   der_expect(&certificate, DER_SEQUENCE, &signed_part);
    if (is_read && signed_part.n > 0 && (uint8_t)signed_part.data[0] == DER_VERSION) {
        is_read = der_expect(&signed_part, DER_VERSION, &value);
    }
    is_read = is_read && der_expect(&signed_part, DER_INTEGER, &value) && /* serial number */
              der_expect(&signed_part, DER_SEQUENCE, &value) &&           /* algorithm */
              der_expect(&signed_part, DER_SEQUENCE, &value) &&           /* issuer */
              der_expect(&signed_part, DER_SEQUENCE, &value) &&           /* validity */
              der_take_time(&value, &dates.from_ms) && der_take_time(&value, &dates.until_ms);
    if (!is_read) {
        return error_set(err, ERR_FLEET_TLS, "it is not an X.509 certificate");
    }
    *ret = dates;
    return 0;
}

/* The first of a file in PEM (RFC 7468). */
static bool pem_decode(const char *pem, struct buf *der)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    char line_free[DER_MAX * 4 / 3];
    size_t n = 0;
    const char *at = strstr(pem, begin);
    const char *end = at ? strstr(at, "-----END CERTIFICATE-----") : NULL;
    if (!end || (size_t)(end - at) > sizeof(line_free)) {
        return false;
    }
    for (at += strlen(begin); at < end; at++) {
        if (*at != '\n' && *at != '\r') {
            line_free[n++] = *at;
        }
    }
    return base64_decode(der, line_free, n);
}

int certificate_read(const char *path, struct certificate_dates *ret, struct error *err)
{
    cleanup_buf struct buf pem = BUF_INIT(FILE_MAX);
    cleanup_buf struct buf der = BUF_INIT(DER_MAX);
    struct error why = {0};
    if (fs_read_file(path, &pem, &why) < 0) {
        return error_set(err, ERR_FLEET_TLS, "certificate: %s", why.message);
    }
    if (!pem_decode(buf_str(&pem), &der)) {
        return error_set(err, ERR_FLEET_TLS, "'%s' is not a certificate in PEM", path);
    }
    if (certificate_parse(&(struct bytes){buf_str(&der), der.len}, ret, err) < 0) {
        return error_wrap(err, "'%s'", path);
    }
    return 0;
}

int certificate_check(const char *path, struct error *err)
{
    struct certificate_dates dates;
    char date[CLOCK_TEXT_SIZE];
    int64_t now_ms = clock_wall_ms(clock_system());
    if (certificate_read(path, &dates, err) < 0) {
        return -(int)err->code;
    }
    if (now_ms > dates.until_ms) {
        clock_format_utc(dates.until_ms, date);
        return error_set(err, ERR_FLEET_TLS, "certificate '%s' expired at %s", path, date);
    }
    if (now_ms < dates.from_ms) {
        clock_format_utc(dates.from_ms, date);
        return error_set(err, ERR_FLEET_TLS, "certificate '%s' is not valid before %s", path, date);
    }
    return 0;
}
