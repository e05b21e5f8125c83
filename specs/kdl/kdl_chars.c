/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Character classes. Where the official test-suite of version 1.0.0 and the text of the
 * specification differ, the suite wins: '/' may occur within a bare name of version 1 (test
 * unusual_chars_in_bare_id) as long as it starts no comment.
 */
#include "specs/kdl/kdl_chars.h"

#include <string.h>

#include "specs/base/text.h"

#define CODE_POINT_BOM 0xfeff

enum class {
    S = 1,  /* white space */
    N = 2,  /* newline */
    V = 4,  /* vertical tab: newline in version 2 */
    I1 = 8, /* identifier character in version 1, in version 2 */
    I2 = 16,
    T = 32, /* allowed in a document of version 2 */
    ST = S | T,
    NT = N | T,
    VT = V | T,
    J1 = I1 | T,
    J2 = I2 | T,
    J = I1 | I2 | T,
};

/* clang-format off */
static const unsigned char classes[128] = {
    /* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, ST, NT, VT, NT, NT, 0, 0,
    /* 10 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /*        sp !  "  #   $  %  &  '  (  )  *  +  ,   -  .  /  */
    /* 20 */ ST, J, T, J1, J, J, J, J, T, T, J, J, J2, J, J, T,
    /*        0..9                         :  ;  <   =  >   ?  */
    /* 30 */ J, J, J, J, J, J, J, J, J, J, J, T, J2, T, J2, J,
    /* 40 */ J, J, J, J, J, J, J, J, J, J, J, J, J, J, J, J,
    /*                                        [  \  ]  ^  _  */
    /* 50 */ J, J, J, J, J, J, J, J, J, J, J, T, T, T, J, J,
    /* 60 */ J, J, J, J, J, J, J, J, J, J, J, J, J, J, J, J,
    /*                                        {  |  }  ~  del  */
    /* 70 */ J, J, J, J, J, J, J, J, J, J, J, T, J, T, J, I1,
};
/* clang-format on */

static bool has_class(char c, unsigned wanted)
{
    unsigned char byte = (unsigned char)c;
    return byte < 0x80 && (classes[byte] & wanted);
}

static bool is_wide(char c)
{
    return (unsigned char)c >= 0x80;
}

uint32_t kdl_decode(const char *p, size_t *ret_bytes)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        *ret_bytes = 1;
        return u[0];
    }
    if (u[0] < 0xe0) {
        *ret_bytes = 2;
        return (u[0] & 0x1fU) << 6 | (u[1] & 0x3fU);
    }
    if (u[0] < 0xf0) {
        *ret_bytes = 3;
        return (u[0] & 0x0fU) << 12 | (u[1] & 0x3fU) << 6 | (u[2] & 0x3fU);
    }
    *ret_bytes = 4;
    return (u[0] & 0x07U) << 18 | (u[1] & 0x3fU) << 12 | (u[2] & 0x3fU) << 6 | (u[3] & 0x3fU);
}

size_t kdl_encode(uint32_t code_point, char out[4])
{
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xc0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xe0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}

unsigned kdl_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10 : 16;
}

static bool is_wide_space(uint32_t code_point, enum kdl_version version)
{
    return code_point == 0xa0 || code_point == 0x1680 ||
           (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x202f ||
           code_point == 0x205f || code_point == 0x3000 ||
           (code_point == CODE_POINT_BOM && version == KDL_V1);
}

static bool is_wide_newline(uint32_t code_point)
{
    return code_point == 0x85 || code_point == 0x2028 || code_point == 0x2029;
}

size_t kdl_space_at(const char *p, const char *end, enum kdl_version version)
{
    if (p == end) {
        return 0;
    }
    if (!is_wide(*p)) {
        return has_class(*p, S);
    }
    size_t bytes;
    return is_wide_space(kdl_decode(p, &bytes), version) ? bytes : 0;
}

size_t kdl_newline_at(const char *p, const char *end, enum kdl_version version)
{
    if (p == end) {
        return 0;
    }
    if (!is_wide(*p)) {
        bool is_pair = *p == '\r' && end - p > 1 && p[1] == '\n';
        return is_pair ? 2 : has_class(*p, version == KDL_V2 ? N | V : N);
    }
    size_t bytes;
    return is_wide_newline(kdl_decode(p, &bytes)) ? bytes : 0;
}

const char *kdl_identifier_end(const char *p, const char *end, enum kdl_version version)
{
    const char *start = p;
    unsigned wanted = version == KDL_V1 ? I1 : I2;
    while (p < end) {
        if (has_class(*p, wanted)) {
            p++;
        } else if (is_wide(*p)) {
            size_t bytes;
            uint32_t code_point = kdl_decode(p, &bytes);
            if (is_wide_space(code_point, version) || is_wide_newline(code_point)) {
                break;
            }
            p += bytes;
        } else if (version == KDL_V1 && p > start && *p == '/' &&
                   (end - p == 1 || !memchr("/*-", p[1], 3))) {
            p++;
        } else {
            break;
        }
    }
    return p;
}

bool kdl_looks_numeric(const char *p, const char *end, enum kdl_version version)
{
    if (p < end && (*p == '+' || *p == '-')) {
        p++;
    }
    if (version == KDL_V2 && p < end && *p == '.') {
        p++;
    }
    return p < end && kdl_digit(*p) < 10;
}

bool kdl_is_keyword(const char *word, size_t length, enum kdl_version version)
{
    static const char *const keywords[] = {"true", "false", "null", "inf", "-inf", "nan"};
    size_t count = version == KDL_V1 ? 3 : 6;
    if (length < 3 || length > 5) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(keywords[i]) == length && memcmp(word, keywords[i], length) == 0) {
            return true;
        }
    }
    return false;
}

bool kdl_is_bare(const char *s, size_t length, enum kdl_version version)
{
    if (length == 0 || kdl_identifier_end(s, s + length, version) != s + length ||
        kdl_looks_numeric(s, s + length, version) || kdl_is_keyword(s, length, version)) {
        return false;
    }
    size_t bytes;
    for (size_t i = 0; i < length; i += bytes) {
        if (kdl_is_forbidden(kdl_decode(s + i, &bytes))) {
            return false;
        }
    }
    return true;
}

bool kdl_is_forbidden(uint32_t code_point)
{
    if (code_point < 0x80) {
        return !has_class((char)code_point, T);
    }
    return code_point == 0x200e || code_point == 0x200f ||
           (code_point >= 0x202a && code_point <= 0x202e) ||
           (code_point >= 0x2066 && code_point <= 0x2069) || code_point == CODE_POINT_BOM;
}

size_t kdl_validate(const char *text, size_t size, enum kdl_version version, bool *ret_is_utf8)
{
    *ret_is_utf8 = true;
    size_t i = 0;
    for (;;) {
        while (i < size && has_class(text[i], T)) {
            i++;
        }
        if (i == size) {
            return size;
        }
        size_t bytes = text_utf8_length(text + i, size - i);
        if (bytes == 0) {
            *ret_is_utf8 = false;
            return i;
        }
        if (version == KDL_V2 && kdl_is_forbidden(kdl_decode(text + i, &bytes))) {
            return i;
        }
        i += bytes;
    }
}
