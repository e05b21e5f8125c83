/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/docker_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"

static void assert_text(const char *found, const char *expected)
{
    if (expected) {
        assert_non_null(found);
        assert_string_equal(found, expected);
    } else {
        assert_null(found);
    }
}

static void assert_login(
    const char *config, const char *registry, const char *credentials, const char *helper)
{
    cleanup_with(oci_login_clear) struct oci_login login = {.credentials = NULL};
    docker_config_login(config, strlen(config), registry, &login);
    assert_text(login.credentials, credentials);
    assert_text(login.helper, helper);
}

static void a_login_is_of_its_registry_alone(void **state)
{
    static const char config[] =
        "{\"auths\":{"
        "\"ghcr.io\":{\"auth\":\"dXNlcjpwYTpzcw==\"},"
        "\"https://r.example:5000/v2/\":{\"username\":\"u\",\"password\":\"p\"},"
        "\"https://index.docker.io/v1/\":{\"auth\":\"aHViOmh1Yg==\"},"
        "\"helper.example\":{},\"bad.example\":{\"auth\":\"***\"}}}";
    (void)state;
    assert_login(config, "ghcr.io", "user:pa:ss", NULL);
    assert_login(config, "r.example:5000", "u:p", NULL);
    assert_login(config, "docker.io", "hub:hub", NULL);
    assert_login(config, "r.example", NULL, NULL);
    assert_login(config, "io", NULL, NULL);
    assert_login(config, "xghcr.io", NULL, NULL);
    assert_login(config, "helper.example", NULL, NULL);
    assert_login(config, "bad.example", NULL, NULL);
    assert_login("[", "ghcr.io", NULL, NULL);
    assert_login("{\"auths\": 1, \"credsStore\": []}", "ghcr.io", NULL, NULL);
}

static void a_helper_is_of_one_registry_or_of_all_that_say_nothing_else(void **state)
{
    static const char config[] = "{\"auths\":{\"a.example\":{\"auth\":\"dTpw\"},\"b.example\":{}},"
                                 "\"credHelpers\":{\"c.example\":\"ecr-login\"},"
                                 "\"credsStore\":\"pass\"}";
    (void)state;
    assert_login(config, "a.example", "u:p", NULL);
    assert_login(config, "b.example", NULL, "docker-credential-pass");
    assert_login(config, "c.example", NULL, "docker-credential-ecr-login");
    assert_string_equal(docker_helper_server("b.example"), "b.example");
    assert_string_equal(docker_helper_server("docker.io"), "https://index.docker.io/v1/");
}

static void a_helper_is_a_program_name_and_nothing_else(void **state)
{
    (void)state;
    assert_login("{\"credsStore\":\"\"}", "r", NULL, NULL);
    assert_login("{\"credsStore\":\"../sh\"}", "r", NULL, NULL);
    assert_login("{\"credsStore\":\"a b\"}", "r", NULL, NULL);
}

static void what_a_helper_prints_is_read(void **state)
{
    (void)state;
    cleanup_free char *plain =
        docker_helper_credentials("{\"ServerURL\":\"r\",\"Username\":\"u\",\"Secret\":\"p:q\"}\n");
    cleanup_free char *noisy =
        docker_helper_credentials("gpg: hello\n{\"Username\":\"u\",\"Secret\":\"\"}\nbye");
    assert_string_equal(plain, "u:p:q");
    assert_string_equal(noisy, "u:");
    assert_null(docker_helper_credentials("credentials not found in native keychain\n"));
    assert_null(docker_helper_credentials("{\"Username\":\"u\"}"));
    assert_null(docker_helper_credentials("{\"Username\":\"<token>\",\"Secret\":\"s\"}"));
    assert_null(docker_helper_credentials("{\"Username\":\"a:b\",\"Secret\":\"s\"}"));
    assert_null(docker_helper_credentials("{"));
    assert_null(docker_helper_credentials(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_is_of_its_registry_alone),
        cmocka_unit_test(a_helper_is_of_one_registry_or_of_all_that_say_nothing_else),
        cmocka_unit_test(a_helper_is_a_program_name_and_nothing_else),
        cmocka_unit_test(what_a_helper_prints_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
