/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_reader.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool vmfile_is_hostname(const char *text)
{
    enum { LABEL_MAX = 63, NAME_MAX_ = 253 };
    if (strlen(text) > NAME_MAX_) {
        return false;
    }
    for (const char *label = text;;) {
        size_t n = strspn(label, LOWER UPPER DIGIT "-");
        if (n == 0 || n > LABEL_MAX || label[0] == '-' || label[n - 1] == '-') {
            return false;
        }
        if (label[n] != '.') {
            return label[n] == '\0';
        }
        label += n + 1;
    }
}

bool vmfile_is_user_name(const char *text)
{
    enum { USER_MAX = 32 };
    if (strlen(text) > USER_MAX || !is_one_of(text[0], LOWER "_")) {
        return false;
    }
    size_t n = strspn(text, LOWER DIGIT "_-");
    return text[n] == '\0' || text_eq(text + n, "$");
}

bool vmfile_is_ifname(const char *text)
{
    enum { IFNAME_MAX = 15 };
    size_t n = strlen(text);
    if (n == 0 || n > IFNAME_MAX || text_eq(text, ".") || text_eq(text, "..")) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f || is_one_of(text[i], "/:,")) {
            return false; /* stricter than the kernel: ASCII, and no comma in QEMU's options */
        }
    }
    return true;
}

bool vmfile_is_ip(const char *text)
{
    uint8_t address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

bool vmfile_is_server(const char *text)
{
    enum { HOST_MAX = 255, PORT_MAX = 65535 };
    uint64_t port;
    bool is_literal = text[0] == '[';
    const char *end = is_literal ? strchr(text, ']') : text + strcspn(text, ":");
    if (!end || end - text > HOST_MAX) {
        return false;
    }
    cleanup_free char *host = mem_strndup(text + is_literal, (size_t)(end - text) - is_literal);
    const char *rest = end + is_literal;
    bool is_port = *rest == '\0' || (*rest == ':' && text_to_u64(rest + 1, 1, PORT_MAX, &port));
    return is_port &&
           (is_literal ? strchr(host, ':') && vmfile_is_ip(host) : vmfile_is_hostname(host));
}

bool vmfile_is_vnic_name(const char *text)
{
    enum { LINK_MAX = 31 };
    size_t n = strlen(text);
    return n > 0 && n <= LINK_MAX && is_one_of(text[0], LOWER UPPER) &&
           is_one_of(text[n - 1], DIGIT) && strspn(text, LOWER UPPER DIGIT "_.") == n;
}

bool vmfile_is_machine(const char *text)
{
    enum { MACHINE_MAX = 40 };
    size_t n = strlen(text);
    const char *prefix = text_starts_with(text, "virt") ? "virt-" : "pc-q35-";
    return strcmp(text, "q35") == 0 || strcmp(text, "virt") == 0 ||
           (text_starts_with(text, prefix) && n > strlen(prefix) && n <= MACHINE_MAX &&
               strspn(text, LOWER UPPER DIGIT "-_.") == n);
}

bool vmfile_looks_like_url(const char *text)
{
    size_t n = strspn(text, LOWER UPPER DIGIT "+-.");
    return n > 0 && text_starts_with(text + n, "://");
}

const char *vmfile_url_problem(const char *url)
{
    static const char *const schemes[] = {"https://", "http://", "file://", "oci://"};
    for (const char *s = url; *s; s++) {
        if (*s <= ' ' || *s >= 0x7f) {
            return "it holds a space or a character that must be percent-encoded";
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(url, schemes[i], n) != 0) {
            continue;
        }
        if (text_eq(schemes[i], "file://")) {
            bool is_local = url[n] == '/' || text_starts_with(url + n, "localhost/");
            return is_local ? NULL : "file:// must be followed by an absolute path";
        }
        return url[n] && url[n] != '/' ? NULL : "it names no host";
    }
    return vmfile_looks_like_url(url) ? "its scheme is not http, https, file or oci"
                                      : "it has no scheme such as https://";
}

char *vmfile_parse_sha256(const char *text)
{
    enum { DIGITS = DIGEST_SIZE - 1 };
    static const char prefix[] = "sha256:";
    const char *digits = text;
    if (strncasecmp(text, prefix, strlen(prefix)) == 0) {
        digits += strlen(prefix);
    }
    if (strlen(digits) != DIGITS || strspn(digits, DIGIT "abcdefABCDEF") != DIGITS) {
        return NULL;
    }
    char *lower = mem_strdup(digits);
    for (char *s = lower; *s; s++) {
        *s = is_one_of(*s, UPPER) ? (char)(*s | 0x20) : *s;
    }
    return lower;
}
