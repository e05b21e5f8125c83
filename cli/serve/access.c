/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/serve/route.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/user_path.h"

enum { TOKEN_MIN = 16, HOST_MAX = 255 };

/* "127.0.0.1:80", "[::1]", "web.lan:443": what is before the port, without brackets. */
static bool host_name(const char *host, char ret[HOST_MAX + 1])
{
    bool is_bracketed = host[0] == '[';
    const char *begin = host + is_bracketed;
    size_t n = strcspn(begin, is_bracketed ? "]" : ":");
    (void)snprintf(ret, HOST_MAX + 1, "%.*s", n <= HOST_MAX ? (int)n : 0, begin);
    return ret[0] != '\0';
}

static bool host_is_allowed(const struct access *access, const char *host)
{
    char name[HOST_MAX + 1];
    struct in6_addr address;
    return host_name(host, name) &&
           (text_eq(name, "localhost") || inet_pton(AF_INET, name, &address) == 1 ||
               inet_pton(AF_INET6, name, &address) == 1 || strings_have(&access->hosts, name));
}

static bool origin_is_own(const struct http_request *request)
{
    const char *authority = strstr(request->origin, "://");
    return request->origin[0] == '\0' || (authority && text_eq(authority + 3, request->host));
}

/* Takes as long for each text of the token's length. */
static bool token_is(const char *token, const char *given)
{
    size_t n = strlen(token);
    volatile unsigned char difference = 0;
    for (size_t i = 0; strlen(given) == n && i < n; i++) {
        difference |= (unsigned char)(token[i] ^ given[i]);
    }
    return strlen(given) == n && difference == 0;
}

bool access_has_token(const struct access *access, const char *authorization)
{
    static const char bearer[] = "Bearer ";
    return !access->token[0] || (text_starts_with(authorization, bearer) &&
                                    token_is(access->token, authorization + strlen(bearer)));
}

unsigned access_check(const struct access *access, const struct http_request *request,
    bool is_public, struct error *err)
{
    if (!origin_is_own(request)) {
        (void)error_set(err, ERR_USAGE, "requests from pages of another origin are refused");
        return 403;
    }
    if (!access->token[0]) {
        return 200;
    }
    if (!host_is_allowed(access, request->host)) {
        (void)error_set(
            err, ERR_USAGE, "the request names a host that vmctl-serve does not accept");
        (void)error_help(err, "use its address, or allow the name: vmctl-serve --host NAME");
        return 403;
    }
    if (!is_public && !access_has_token(access, request->authorization)) {
        (void)error_set(err, ERR_USAGE, "the request lacks the token");
        (void)error_help(
            err, "send 'Authorization: Bearer TOKEN' with the contents of the token file");
        return 401;
    }
    return 200;
}

/* ---- the file ---- */

/* Written under another name and linked, so that no reader sees a part of it. */
static int make_token(const char *path, struct error *err)
{
    uint8_t bytes[32];
    char text[2 * sizeof(bytes) + 1];
    cleanup_free char *temporary = mem_printf("%s.%d", path, (int)getpid());
    digest_random(bytes, sizeof(bytes));
    text_hex(text, bytes, sizeof(bytes));
    text[2 * sizeof(bytes)] = '\n'; /* in the place of the NUL */
    int rc = fs_write_file(temporary, text, sizeof(text), 0600, err);
    if (rc == 0 && link(temporary, path) < 0 && errno != EEXIST) {
        rc = error_set_errno(err, ERR_IO, errno, "cannot make the token file '%s'", path);
    }
    (void)unlink(temporary);
    return rc;
}

static int check_token(const char *path, const char *token, struct error *err)
{
    struct stat st;
    if (user_path_stat(path, &st) == 0 && (st.st_mode & 077) != 0) {
        (void)error_set(err, ERR_USAGE, "the token file '%s' can be read by others", path);
        return error_help(err,
            "chmod 600 '%s'; if others may have read it, remove it: vmctl-serve makes a new one",
            path);
    }
    if (!text_is_visible(token)) {
        return error_set(err, ERR_USAGE, "the token file '%s' contains more than one word", path);
    }
    return strlen(token) >= TOKEN_MIN
               ? 0
               : error_set(err, ERR_USAGE, "the token in '%s' is shorter than %d characters", path,
                     (int)TOKEN_MIN);
}

int access_read_token(const char *path, char ret[ACCESS_TOKEN_MAX + 1], struct error *err)
{
    cleanup_buf struct buf text = BUF_INIT(ACCESS_TOKEN_MAX + 1);
    struct stat st;
    int rc = user_path_stat(path, &st) < 0 && errno == ENOENT ? make_token(path, err) : 0;
    if (rc < 0 || (rc = user_path_read(path, &text, err)) < 0) {
        return rc;
    }
    size_t n = strcspn(buf_str(&text), "\r\n");
    (void)snprintf(ret, ACCESS_TOKEN_MAX + 1, "%.*s", (int)n, buf_str(&text));
    return check_token(path, ret, err);
}
