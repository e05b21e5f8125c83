/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/serve/route.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

static unsigned check(const struct access *access, const char *host, const char *origin,
    const char *authorization, bool is_public)
{
    struct error err = {.code = ERR_NONE};
    const struct http_request request = {
        .host = host, .origin = origin, .authorization = authorization};
    unsigned status = access_check(access, &request, is_public, &err);
    assert_int_equal(status == 200, err.code == ERR_NONE);
    return status;
}

static const struct access with_token = {.token = "0123456789abcdef"};

static void the_token_is_the_whole_of_one_word(void **state)
{
    const struct access *a = &with_token;
    (void)state;
    assert_int_equal(check(a, "127.0.0.1:1", "", "Bearer 0123456789abcdef", false), 200);
    assert_int_equal(check(a, "127.0.0.1:1", "", "Bearer 0123456789abcdeX", false), 401);
    assert_int_equal(check(a, "127.0.0.1:1", "", "Bearer 0123456789abcde", false), 401);
    assert_int_equal(check(a, "127.0.0.1:1", "", "Bearer 0123456789abcdef0", false), 401);
    assert_int_equal(check(a, "127.0.0.1:1", "", "Bearer ", false), 401);
    assert_int_equal(check(a, "127.0.0.1:1", "", "", false), 401);
    assert_int_equal(check(a, "127.0.0.1:1", "", "", true), 200);
}

static void a_name_that_was_not_allowed_is_refused_also_with_the_token(void **state)
{
    struct access access = with_token;
    (void)state;
    static const char *const fine[] = {"localhost", "localhost:80", "127.0.0.1", "10.1.2.3:443",
        "[::1]:8080", "[::1]"},
                             *const bad[] = {"", "evil.example", "evil.example:8080",
                                 "127.0.0.1.evil.example", "localhost.evil", "[evil]", ":80"};
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        assert_int_equal(check(&access, fine[i], "", "Bearer 0123456789abcdef", false), 200);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(check(&access, bad[i], "", "Bearer 0123456789abcdef", false), 403);
        assert_int_equal(check(&access, bad[i], "", "", true), 403);
    }
    strings_add(&access.hosts, "web.lan");
    assert_int_equal(check(&access, "web.lan:443", "", "Bearer 0123456789abcdef", false), 200);
    strings_clear(&access.hosts);
}

static void another_origin_is_refused_on_a_unix_socket_too(void **state)
{
    static const struct access local = {.token = ""};
    (void)state;
    assert_int_equal(check(&local, "x", "", "", false), 200);
    assert_int_equal(check(&local, "localhost", "http://localhost", "", false), 200);
    assert_int_equal(check(&local, "localhost", "http://evil.example", "", false), 403);
    assert_int_equal(check(&local, "localhost", "null", "", false), 403);
    assert_int_equal(check(&local, "localhost:1", "http://localhost:2", "", false), 403);
}

static void a_token_file_is_made_once_and_others_cannot_read_it(void **state)
{
    char dir[] = "/tmp/vmctl-access.XXXXXX", first[ACCESS_TOKEN_MAX + 1],
         second[ACCESS_TOKEN_MAX + 1];
    struct error err = {.code = ERR_NONE};
    struct stat st;
    (void)state;
    assert_non_null(mkdtemp(dir));
    cleanup_free char *path = fs_join(dir, "token");
    assert_int_equal(access_read_token(path, first, &err), 0);
    assert_int_equal(access_read_token(path, second, &err), 0);
    assert_string_equal(first, second);
    assert_int_equal(strlen(first), 64);
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(access_read_token(path, second, &err), -ERR_USAGE);
    error_clear(&err);
    static const char *const refused[] = {
        "short\n", "two words of a token\n", "0123456789\t12345\n"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_int_equal(fs_write_file(path, refused[i], strlen(refused[i]), 0600, &err), 0);
        assert_int_equal(access_read_token(path, second, &err), -ERR_USAGE);
        error_clear(&err);
    }
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_token_is_the_whole_of_one_word),
        cmocka_unit_test(a_name_that_was_not_allowed_is_refused_also_with_the_token),
        cmocka_unit_test(another_origin_is_refused_on_a_unix_socket_too),
        cmocka_unit_test(a_token_file_is_made_once_and_others_cannot_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
