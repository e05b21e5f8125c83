/* SPDX-License-Identifier: MPL-2.0 */
/* References, challenges, credentials and manifests as text. */
#include "reconcilers/fetch/oci_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/fetch/docker_config.h"
#include "reconcilers/fetch/oci_auth.h"
#include "reconcilers/fetch/oci_manifest.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ---- references ---- */

static void assert_reference(const char *url, const char *insecure, const char *base,
    const char *repository, const char *target)
{
    cleanup_with(oci_reference_clear) struct oci_reference reference = {0};
    struct error err = {0};
    assert_int_equal(oci_reference_parse(url, insecure, &reference, &err), 0);
    assert_string_equal(reference.base, base);
    assert_string_equal(reference.repository, repository);
    assert_string_equal(reference.target, target);
}

static void references_have_a_registry_a_repository_and_a_target(void **state)
{
    (void)state;
    assert_reference("oci://ghcr.io/org/disk:12", NULL, "https://ghcr.io", "org/disk", "12");
    assert_reference("OCI://ghcr.io/disk", NULL, "https://ghcr.io", "disk", "latest");
    assert_reference("oci://r.example:5000/a/b_c/d-e@sha256:" A64, NULL, "https://r.example:5000",
        "a/b_c/d-e", "sha256:" A64);
    assert_reference(
        "oci://ghcr.io/a:tag@sha256:" A64, NULL, "https://ghcr.io", "a", "sha256:" A64);
    assert_reference(
        "oci://docker.io/library/x", NULL, "https://registry-1.docker.io", "library/x", "latest");
}

static void only_this_host_and_what_is_listed_goes_without_tls(void **state)
{
    (void)state;
    assert_reference("oci://localhost/a", NULL, "http://localhost", "a", "latest");
    assert_reference("oci://127.0.0.1:5000/a", NULL, "http://127.0.0.1:5000", "a", "latest");
    assert_reference("oci://[::1]:5000/a", NULL, "http://[::1]:5000", "a", "latest");
    assert_reference("oci://127.0.0.1.example/a", NULL, "https://127.0.0.1.example", "a", "latest");
    assert_reference("oci://localhost.example/a", NULL, "https://localhost.example", "a", "latest");
    assert_reference("oci://r.lan:5000/a", "x, r.lan", "http://r.lan:5000", "a", "latest");
    assert_reference("oci://r.lan:5000/a", "r.lan:5000", "http://r.lan:5000", "a", "latest");
    assert_reference("oci://r.lan:5001/a", "r.lan:5000", "https://r.lan:5001", "a", "latest");
    assert_reference("oci://r.lan.example/a", "r.lan", "https://r.lan.example", "a", "latest");
}

static void malformed_references_are_refused(void **state)
{
    static const char *const bad[] = {"oci://", "oci://ghcr.io", "oci://ghcr.io/", "oci:///a",
        "oci://user:pass@ghcr.io/a", "oci://ghcr.io/A", "oci://ghcr.io/a//b", "oci://ghcr.io/../a",
        "oci://ghcr.io/a/", "oci://ghcr.io/a:", "oci://ghcr.io/a:.x", "oci://ghcr.io/a:b/c",
        "oci://ghcr.io/a@latest", "oci://ghcr.io/a@sha256:abc", ("oci://ghcr.io/a@sha512:" A64),
        "oci://ghcr.io:99999/a", "oci://[::1/a", "oci://ghcr.io/a?b", "oci://-x/a", "http://x/a"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct oci_reference reference = {0};
        struct error err = {0};
        assert_int_equal(oci_reference_parse(bad[i], NULL, &reference, &err), -ERR_IMAGE_NOT_FOUND);
        assert_null(reference.base);
    }
}

/* ---- challenges ---- */

static void a_bearer_challenge_is_read(void **state)
{
    cleanup_with(oci_challenge_clear) struct oci_challenge c = {0};
    (void)state;
    assert_true(oci_challenge_parse("Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\","
                                    "scope=\"repository:org/disk:pull\"",
        &c));
    assert_true(c.is_bearer);
    assert_string_equal(c.realm, "https://ghcr.io/token");
    assert_string_equal(c.service, "ghcr.io");
    assert_string_equal(c.scope, "repository:org/disk:pull");
    cleanup_free char *url = oci_token_url(&c, "org/disk");
    assert_string_equal(
        url, "https://ghcr.io/token?service=ghcr.io&scope=repository:org/disk:pull");
}

static void bearer_is_taken_before_basic_in_any_order(void **state)
{
    cleanup_with(oci_challenge_clear) struct oci_challenge c = {0};
    (void)state;
    assert_true(oci_challenge_parse("Negotiate abc==, basic Realm = \"say \\\"hi\\\"\" , "
                                    "BEARER realm=\"http://t/x?y=1\"",
        &c));
    assert_true(c.is_bearer);
    assert_string_equal(c.realm, "http://t/x?y=1");
    assert_null(c.service);
    cleanup_free char *url = oci_token_url(&c, "a b&c");
    assert_string_equal(url, "http://t/x?y=1&scope=repository:a%20b%26c:pull");
}

static void a_basic_challenge_is_read(void **state)
{
    cleanup_with(oci_challenge_clear) struct oci_challenge c = {0};
    (void)state;
    assert_true(oci_challenge_parse("Basic realm=\"say \\\"hi\\\", you\"", &c));
    assert_false(c.is_bearer);
    assert_string_equal(c.realm, "say \"hi\", you");
}

static void useless_challenges_are_refused(void **state)
{
    static const char *const bad[] = {"", "Digest realm=\"x\"", "Bearer", "Bearer realm=\"x",
        "Bearer realm=\"file:///etc/passwd\"", "Bearer service=\"s\"", "===,,,\"\""};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct oci_challenge c = {0};
        assert_false(oci_challenge_parse(bad[i], &c));
        assert_null(c.realm);
    }
}

static void credentials_go_only_where_the_registry_belongs(void **state)
{
    (void)state;
    assert_true(oci_realm_is_trusted("https://ghcr.io", "https://ghcr.io/token"));
    assert_true(oci_realm_is_trusted("http://127.0.0.1:5000", "http://127.0.0.1:5001/t"));
    assert_true(oci_realm_is_trusted("http://[::1]:5000", "http://[::1]:1/t"));
    assert_true(
        oci_realm_is_trusted("https://registry-1.docker.io", "https://auth.docker.io/token"));
    assert_true(oci_realm_is_trusted("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"));
    assert_true(oci_realm_is_trusted("https://r.example", "https://auth.r.example:8443/t"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "http://ghcr.io/token"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "https://evil.io/token"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "https://ghcr.io@evil.example/token"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "https://notghcr.io/token"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "https://evil.example/ghcr.io"));
    assert_false(oci_realm_is_trusted("https://10.0.0.1", "https://9.0.0.1/t"));
    assert_false(oci_realm_is_trusted("https://ghcr.io", "https://evil.example\\.ghcr.io/t"));
}

static char *token_of(const char *text)
{
    return oci_token_read(text, strlen(text));
}

static void tokens_are_read_and_cannot_break_a_header(void **state)
{
    (void)state;
    cleanup_free char *token = token_of("{\"token\":\"t.1\",\"access_token\":\"x\"}");
    cleanup_free char *access_token = token_of("{\"access_token\":\"t2\"}");
    assert_string_equal(token, "t.1");
    assert_string_equal(access_token, "t2");
    assert_null(token_of("{\"token\":\"a\\r\\nX: y\"}"));
    assert_null(token_of("{\"token\":\"\"}"));
    assert_null(token_of("{\"token\":1}"));
    assert_null(token_of("<html>"));
}

/* ---- credentials ---- */

static void basic_credentials_are_padded(void **state)
{
    (void)state;
    cleanup_free char *basic = oci_basic("a:b");
    assert_string_equal(basic, "Basic YTpi");
    cleanup_free char *padded = oci_basic("ab:c");
    assert_string_equal(padded, "Basic YWI6Yw==");
}

static void assert_login(const char *registry, const char *credentials)
{
    cleanup_with(oci_login_clear) struct oci_login login = {.credentials = NULL};
    oci_login_find(registry, &login);
    if (credentials) {
        assert_string_equal(login.credentials, credentials);
    } else {
        assert_null(login.credentials);
    }
}

static void a_github_token_is_for_ghcr_alone(void **state)
{
    char dir[] = "/tmp/vmctl-oci-XXXXXX";
    static const char config[] = "{\"auths\":{\"r.example\":{\"auth\":\"dTpw\"}}}";
    struct error err = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    cleanup_free char *path = fs_join(dir, "config.json");
    assert_int_equal(fs_write_file(path, config, strlen(config), 0600, &err), 0);
    setenv("DOCKER_CONFIG", dir, 1);
    setenv("GITHUB_TOKEN", "gh", 1);
    assert_login("ghcr.io", "x-access-token:gh");
    assert_login("r.example", "u:p");
    assert_login("ghcr.io.example", NULL);
    unsetenv("GITHUB_TOKEN");
    assert_login("ghcr.io", NULL);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

/* ---- manifests ---- */

static int choose(const char *text, struct oci_choice *ret, struct error *err)
{
    return oci_manifest_choose(text, strlen(text), "amd64", ret, err);
}

#define LAYER(type, digit) "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" digit "\"}"
#define TITLED(type, digit, title)                                                                 \
    "{\"mediaType\":\"" type "\",\"digest\":\"sha256:" digit                                       \
    "\",\"annotations\":{\"org.opencontainers.image.title\":\"" title "\"}}"

static void assert_layer(const char *text, const char *digest, const char *title)
{
    struct oci_choice choice = {0};
    struct error err = {0};
    assert_int_equal(choose(text, &choice, &err), 0);
    assert_false(choice.is_manifest);
    assert_string_equal(choice.digest, digest);
    if (title) {
        assert_string_equal(choice.title, title);
    } else {
        assert_null(choice.title);
    }
    free(choice.title);
}

static void the_layer_with_the_disk_is_chosen(void **state)
{
    (void)state;
    assert_layer("{\"layers\":[" LAYER("application/octet-stream", B64) "," LAYER(
                     "application/vnd.cloudnebula.qcow2.layer.v1", A64) "]}",
        A64, NULL);
    assert_layer("{\"layers\":[" LAYER("application/octet-stream", B64) "," TITLED(
                     "application/x-thing", A64, "disk.qcow2.zst") "]}",
        A64, "disk.qcow2.zst");
    assert_layer(
        "{\"layers\":[" LAYER("text/plain", B64) "," LAYER("application/octet-stream", A64) "]}",
        A64, NULL);
    assert_layer("{\"layers\":[" LAYER("application/vnd.cloudnebula.qcow2.layer.v1+zstd", A64) "]}",
        A64, NULL);
}

static void without_a_disk_the_types_found_are_listed(void **state)
{
    struct oci_choice choice = {0};
    struct error err = {0};
    (void)state;
    assert_int_equal(choose("{\"layers\":[" LAYER("text/a\\u001b", A64) "," LAYER(
                                "application/vnd.cloudnebula.qcow2.layer.v10", A64) ",{}]}",
                         &choice, &err),
        -ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "its layers: text/a"));
    assert_non_null(strstr(err.message, "qcow2.layer.v10, (none)"));
    assert_null(strchr(err.message, '\033'));
    error_clear(&err);
    assert_int_equal(choose("{\"layers\":[]}", &choice, &err), -ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "its layers: none"));
}

static void what_is_no_manifest_is_refused(void **state)
{
    static const char *const bad[] = {"", "<html>", "[]", "{}", "{\"layers\":1}",
        "{\"layers\":[{\"mediaType\":\"application/octet-stream\"}]}",
        "{\"layers\":[{\"mediaType\":\"application/octet-stream\",\"digest\":\"sha256:aa\"}]}",
        "{\"layers\":[{\"mediaType\":\"application/octet-stream\",\"digest\":\"sha512:" A64 "\"}]}",
        "{\"layers\":[{\"mediaType\":\"application/octet-stream\",\"digest\":\"sha256:" A64
        "/..\"}]}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct oci_choice choice = {0};
        struct error err = {0};
        assert_int_equal(choose(bad[i], &choice, &err), -ERR_IMAGE_FORMAT);
    }
}

#define PLATFORM(arch, digit)                                                                      \
    "{\"digest\":\"sha256:" digit "\",\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch     \
    "\"}}"

static void an_index_leads_to_this_machines_manifest(void **state)
{
    struct oci_choice choice = {0};
    struct error err = {0};
    (void)state;
    assert_int_equal(
        choose("{\"manifests\":[" PLATFORM("arm64", B64) "," PLATFORM("amd64", A64) "]}", &choice,
            &err),
        0);
    assert_true(choice.is_manifest);
    assert_string_equal(choice.digest, A64);
    /* the only one, beside an attestation */
    assert_int_equal(
        choose("{\"manifests\":[{\"digest\":\"sha256:" B64 "\"}," PLATFORM("unknown", A64) "]}",
            &choice, &err),
        0);
    assert_string_equal(choice.digest, B64);
    assert_int_equal(
        choose("{\"manifests\":[" PLATFORM("arm64", B64) "," PLATFORM("s390x", A64) "]}", &choice,
            &err),
        -ERR_IMAGE_FORMAT);
    assert_non_null(strstr(err.message, "linux/amd64; it has: arm64, s390x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_have_a_registry_a_repository_and_a_target),
        cmocka_unit_test(only_this_host_and_what_is_listed_goes_without_tls),
        cmocka_unit_test(malformed_references_are_refused),
        cmocka_unit_test(a_bearer_challenge_is_read),
        cmocka_unit_test(bearer_is_taken_before_basic_in_any_order),
        cmocka_unit_test(a_basic_challenge_is_read),
        cmocka_unit_test(useless_challenges_are_refused),
        cmocka_unit_test(credentials_go_only_where_the_registry_belongs),
        cmocka_unit_test(tokens_are_read_and_cannot_break_a_header),
        cmocka_unit_test(basic_credentials_are_padded),
        cmocka_unit_test(a_github_token_is_for_ghcr_alone),
        cmocka_unit_test(the_layer_with_the_disk_is_chosen),
        cmocka_unit_test(without_a_disk_the_types_found_are_listed),
        cmocka_unit_test(what_is_no_manifest_is_refused),
        cmocka_unit_test(an_index_leads_to_this_machines_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
