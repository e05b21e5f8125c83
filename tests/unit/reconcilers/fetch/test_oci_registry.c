/* SPDX-License-Identifier: MPL-2.0 */
/* Images from registries: the whole way from oci:// to the cache, against Debian's docker-registry
 * and, for what registries do wrong, the faulty server. */
#include "reconcilers/image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "reconcilers/fetch/oci_manifest.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "tests/support/http_server.h"
#include "tests/support/media_host.h"
#include "tests/support/registry.h"

enum { SIZE = 1024 * 1024, RULES = 8 };

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define LOGIN "dGVzdGVyOnMzY3JldA==" /* REGISTRY_USER:REGISTRY_PASSWORD */
#define BASIC "Basic " LOGIN

struct fixture {
    struct media_host m;
    struct image_cache *cache;
    struct registry *registry;
    struct http_server *server, *elsewhere; /* faulty ones */
    struct http_behaviour behaviour;
    struct http_rule rules[RULES];
    struct image_result result;
    uint8_t *bytes; /* of a raw image */
    char sha256[DIGEST_SIZE];
};

static void set_up(void **state, bool has_registry, bool has_login)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    setenv("DOCKER_CONFIG", f->m.dir, 1);
    unsetenv("GITHUB_TOKEN");
    f->cache = image_cache_new(&f->m.host);
    f->bytes = media_host_bytes(SIZE, 3);
    digest_bytes(f->bytes, SIZE, f->sha256);
    if (has_registry) {
        f->registry = registry_start(f->m.dir, has_login);
        assert_non_null(f->registry); /* Debian package docker-registry */
    }
    f->server = http_server_start();
    f->elsewhere = http_server_start();
    f->behaviour = (struct http_behaviour){
        .body = f->bytes, .size = SIZE, .etag = "\"v1\"", .rules = f->rules};
    *state = f;
}

static int setup(void **state)
{
    set_up(state, true, false);
    return 0;
}

static int setup_with_login(void **state)
{
    set_up(state, true, true);
    return 0;
}

static int setup_without_registry(void **state)
{
    set_up(state, false, false);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    image_cache_free(f->cache);
    registry_stop(f->registry);
    http_server_stop(f->server);
    http_server_stop(f->elsewhere);
    free(f->result.path);
    json_decref(f->result.record);
    free(f->bytes);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

/* ---- images ---- */

static enum error_code fetch_url(struct fixture *f, char *url, char *sha256)
{
    struct spec_image image = {.kind = IMAGE_URL, .location = url, .sha256 = sha256};
    (void)image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

/* `name` of the real registry: "disk:v1". */
static enum error_code fetch(struct fixture *f, const char *name, char *sha256)
{
    cleanup_free char *url = mem_printf("oci://127.0.0.1:%u/%s", registry_port(f->registry), name);
    return fetch_url(f, url, sha256);
}

static enum error_code fetch_faulty(struct fixture *f)
{
    cleanup_free char *url = mem_printf("oci://127.0.0.1:%u/org/disk", http_server_port(f->server));
    return fetch_url(f, url, NULL);
}

static char *manifest_of(const char *type, const char *digest, size_t size, const char *title)
{
    return mem_printf(
        "{\"schemaVersion\":2,\"mediaType\":\"" MANIFEST_TYPE "\","
        "\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"size\":2,"
        "\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61"
        "caaff8a\"},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\","
        "\"size\":%zu,\"annotations\":{\"org.opencontainers.image.title\":\"%s\"}}]}",
        type, digest, size, title);
}

/* Pushes bytes as the disk of disk:`tag`; the manifest is returned. */
static char *push(struct fixture *f, const char *tag, const char *type, const void *bytes, size_t n,
    const char *title)
{
    char digest[DIGEST_SIZE], ignored[DIGEST_SIZE];
    registry_push_blob(f->registry, "org/disk", "{}", 2, ignored);
    registry_push_blob(f->registry, "org/disk", bytes, n, digest);
    char *manifest = manifest_of(type, digest, n, title);
    assert_int_equal(
        registry_push_manifest(f->registry, "org/disk", tag, MANIFEST_TYPE, manifest), 201);
    return manifest;
}

static void assert_is_cached(struct fixture *f)
{
    cleanup_free char *path = paths_image(&f->m.paths, f->sha256);
    char found[DIGEST_SIZE];
    struct error err = {0};
    assert_string_equal(f->result.path, path);
    assert_string_equal(f->result.id, f->sha256);
    assert_int_equal(digest_file(path, NULL, found, &err), 0);
    assert_string_equal(found, f->sha256);
}

static void write_login(struct fixture *f, uint16_t port)
{
    cleanup_free char *text =
        mem_printf("{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"%s\"}}}", port, LOGIN);
    free(media_host_file(&f->m, "config.json", text, strlen(text)));
}

/* ---- a real registry ---- */

static void an_image_is_pulled_and_recorded(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_NONE);
    assert_is_cached(f);
    assert_string_equal(json_text(f->result.record, "sha256"), f->sha256);
    assert_true(text_starts_with(json_text(f->result.record, "url"), "oci://127.0.0.1:"));
}

static void a_pulled_image_needs_no_registry_any_more(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    cleanup_free char *url =
        mem_printf("oci://127.0.0.1:%u/org/disk:v1", registry_port(f->registry));
    assert_int_equal(fetch_url(f, url, NULL), ERR_NONE);
    registry_stop(TAKE_PTR(f->registry));
    assert_int_equal(fetch_url(f, url, NULL), ERR_NONE);
    assert_is_cached(f);
}

static void a_packed_octet_stream_is_unpacked(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *raw = media_host_file(&f->m, "disk.img", f->bytes, SIZE);
    cleanup_free char *packed = mem_printf("%s.zst", raw);
    const char *argv[] = {"zstd", "-q", raw, NULL};
    assert_true(media_host_run(argv));
    cleanup_buf struct buf text = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(packed, &text, &err), 0);
    free(push(f, "latest", "application/octet-stream", text.data, text.len, "disk.img.zst"));
    assert_int_equal(fetch(f, "org/disk", NULL), ERR_NONE);
    assert_is_cached(f);
}

static void an_index_is_followed(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *manifest = push(f, "one", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2");
    char digest[DIGEST_SIZE];
    digest_text(manifest, digest);
    cleanup_free char *index = mem_printf(
        "{\"schemaVersion\":2,\"mediaType\":\"" INDEX_TYPE "\","
        "\"manifests\":[{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"sha256:%s\",\"size\":%zu,"
        "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}}]}",
        digest, strlen(manifest));
    assert_int_equal(
        registry_push_manifest(f->registry, "org/disk", "many", INDEX_TYPE, index), 201);
    assert_int_equal(fetch(f, "org/disk:many", NULL), ERR_NONE);
    assert_is_cached(f);
}

/* Both are in the cache then, each for its own guests. */
static void of_an_index_each_guest_gets_the_image_for_its_processor(void **state)
{
    struct fixture *f = *state;
    char digests[2][DIGEST_SIZE], *paths[2];
    for (int i = 0; i < 2; i++) {
        cleanup_free uint8_t *bytes = media_host_bytes(SIZE, 7 + i);
        cleanup_free char *manifest = push(f, "one", OCI_QCOW2_LAYER, bytes, SIZE, "disk.qcow2");
        digest_text(manifest, digests[i]);
    }
    cleanup_free char *index =
        mem_printf("{\"mediaType\":\"" INDEX_TYPE "\",\"schemaVersion\":2,\"manifests\":["
                   "{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"sha256:%s\",\"size\":1,"
                   "\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
                   "{\"mediaType\":\"" MANIFEST_TYPE "\",\"digest\":\"sha256:%s\",\"size\":1,"
                   "\"platform\":{\"os\":\"linux\",\"architecture\":\"riscv64\"}}]}",
            digests[0], digests[1]);
    assert_int_equal(
        registry_push_manifest(f->registry, "org/disk", "many", INDEX_TYPE, index), 201);
    cleanup_free char *url =
        mem_printf("oci://127.0.0.1:%u/org/disk:many", registry_port(f->registry));
    for (int i = 0; i < 4; i++) { /* the second time from the cache */
        struct spec_image image = {
            .kind = IMAGE_URL, .location = url, .arch = i % 2 == 0 ? ARCH_AARCH64 : ARCH_RISCV64};
        (void)image_fetch(
            f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
        assert_int_equal(media_host_wait(&f->m, 1), ERR_NONE);
        if (i < 2) {
            paths[i] = mem_strdup(f->result.path);
            assert_string_equal(
                json_text(f->result.record, "arch"), i == 0 ? "aarch64" : "riscv64");
        }
        assert_string_equal(f->result.path, paths[i % 2]);
    }
    assert_string_not_equal(paths[0], paths[1]);
    free(paths[0]);
    free(paths[1]);
}

static void a_digest_names_a_manifest(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *manifest = push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2");
    char digest[DIGEST_SIZE];
    digest_text(manifest, digest);
    cleanup_free char *name = mem_printf("org/disk@sha256:%s", digest);
    assert_int_equal(fetch(f, name, f->sha256), ERR_NONE);
    assert_is_cached(f);
}

static void the_same_bytes_are_not_downloaded_twice(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    free(push(f, "v2", "application/octet-stream", f->bytes, SIZE, "other.qcow2"));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_NONE);
    /* The registry's copy is damaged now: a download would fail. */
    cleanup_free char *blob = mem_printf(
        "%s/storage/docker/registry/v2/blobs/sha256/%.2s/%s/data", f->m.dir, f->sha256, f->sha256);
    assert_int_equal(truncate(blob, 10), 0);
    assert_int_equal(fetch(f, "org/disk:v2", NULL), ERR_NONE);
    assert_is_cached(f);
    cleanup_free char *url =
        mem_printf("oci://127.0.0.1:%u/org/disk:v2", registry_port(f->registry));
    assert_string_equal(json_text(f->result.record, "url"), url);
}

static void a_wrong_pin_is_refused(void **state)
{
    struct fixture *f = *state;
    char wrong[DIGEST_SIZE];
    digest_text("something else", wrong);
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    assert_int_equal(fetch(f, "org/disk:v1", wrong), ERR_IMAGE_CHECKSUM);
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_NONE);
    assert_int_equal(fetch(f, "org/disk:v1", wrong), ERR_IMAGE_CHECKSUM);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fetch(f, "org/none:v1", NULL), ERR_IMAGE_NOT_FOUND);
    assert_non_null(strstr(f->m.error.message, "org/none"));
    assert_int_equal(fetch(f, "Bad//name", NULL), ERR_IMAGE_NOT_FOUND);
}

static void an_image_without_a_disk_lists_its_layers(void **state)
{
    struct fixture *f = *state;
    free(push(f, "tar", "application/vnd.oci.image.layer.v1.tar", f->bytes, SIZE, "root.tar"));
    assert_int_equal(fetch(f, "org/disk:tar", NULL), ERR_IMAGE_FORMAT);
    assert_non_null(strstr(f->m.error.message, "application/vnd.oci.image.layer.v1.tar"));
}

static void a_private_registry_wants_the_login_of_config_json(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(f->m.error.message, "without credentials"));
    assert_non_null(strstr(error_help_text(&f->m.error), "docker login 127.0.0.1:"));
    write_login(f, registry_port(f->registry));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_NONE);
    assert_is_cached(f);
}

static void a_wrong_password_is_told_and_not_shown(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *text = mem_printf(
        "{\"auths\":{\"127.0.0.1:%u\":{\"username\":\"tester\",\"password\":\"hunter2\"}}}",
        registry_port(f->registry));
    free(media_host_file(&f->m, "config.json", text, strlen(text)));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(f->m.error.message, "with the credentials given"));
    assert_null(strstr(f->m.error.message, "hunter2"));
}

/* docker-credential-test in PATH does as the shell script says; config.json names it. */
static void use_helper(struct fixture *f, const char *script)
{
    static const char config[] = "{\"credsStore\":\"test\"}";
    cleanup_free char *text = mem_printf("#!/bin/sh\n%s\n", script);
    cleanup_free char *path = media_host_file(&f->m, "docker-credential-test", text, strlen(text));
    free(media_host_file(&f->m, "config.json", config, strlen(config)));
    assert_int_equal(chmod(path, 0755), 0);
}

/* What runs in between finds its programs where they were. */
static enum error_code fetch_with_path(struct fixture *f, const char *name)
{
    cleanup_free char *path = mem_strdup(getenv("PATH"));
    cleanup_free char *with_helper = mem_printf("%s:%s", f->m.dir, path);
    setenv("PATH", with_helper, 1);
    enum error_code code = fetch(f, name, NULL);
    setenv("PATH", path, 1);
    return code;
}

static void a_credential_helper_is_asked_by_its_protocol(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    cleanup_free char *script = mem_printf(
        "[ \"$1\" = get ] && [ \"$(cat)\" = 127.0.0.1:%u ] || exit 9\n"
        "echo '{\"Username\":\"" REGISTRY_USER "\",\"Secret\":\"" REGISTRY_PASSWORD "\"}'",
        registry_port(f->registry));
    use_helper(f, script);
    assert_int_equal(fetch_with_path(f, "org/disk:v1"), ERR_NONE);
    assert_is_cached(f);
}

static void a_credential_helper_that_fails_is_named(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    use_helper(f, "echo credentials not found; exit 1");
    assert_int_equal(fetch_with_path(f, "org/disk:v1"), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(error_help_text(&f->m.error), "credentials not found"));
    assert_non_null(strstr(error_help_text(&f->m.error), "docker login 127.0.0.1:"));
    assert_int_equal(fetch(f, "org/disk:v1", NULL), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(error_help_text(&f->m.error), "'docker-credential-test': not found"));
}

static void what_a_failed_helper_prints_is_repeated_without_its_secrets(void **state)
{
    static const char *const secrets[] = {
        "dckr_pat_27caracteres0123456789", "ghp_0123456789abcdefghij", "tops3cret"};
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    use_helper(f,
        "echo \"locked: token=dckr_pat_27caracteres0123456789, 'ghp_0123456789abcdefghij'"
        " of /home/user0/.password-store/docker: {\\\"Secret\\\":\\\"tops3cret\\\"}\"; exit 1");
    assert_int_equal(fetch_with_path(f, "org/disk:v1"), ERR_IMAGE_DOWNLOAD);
    const char *help = error_help_text(&f->m.error);
    assert_non_null(
        strstr(help, "locked: token=*, '*' of /home/user0/.password-store/docker: ; log in"));
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        assert_null(strstr(help, secrets[i]));
        assert_null(strstr(f->m.error.message, secrets[i]));
    }
}

static void a_public_image_needs_no_helper(void **state)
{
    struct fixture *f = *state;
    free(push(f, "v1", OCI_QCOW2_LAYER, f->bytes, SIZE, "disk.qcow2"));
    use_helper(f, "touch \"$0.ran\"");
    assert_int_equal(fetch_with_path(f, "org/disk:v1"), ERR_NONE);
    cleanup_free char *ran = fs_join(f->m.dir, "docker-credential-test.ran");
    assert_false(fs_exists(ran));
}

/* ---- a scripted one ---- */

static void add_rule(struct fixture *f, struct http_rule rule)
{
    assert_true(f->behaviour.n_rules < RULES);
    f->rules[f->behaviour.n_rules++] = rule;
    http_server_behave(f->server, &f->behaviour);
}

static size_t count_requests(struct http_server *server, const char *authorization)
{
    size_t found = 0;
    for (size_t i = 0; i < http_server_count(server); i++) {
        struct http_request request = http_server_request(server, i);
        found += text_eq(request.authorization, authorization);
    }
    return found;
}

static char *challenge_of(uint16_t port)
{
    return mem_printf(
        "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s\"", port);
}

static void a_token_is_got_with_the_login_and_shown_to_the_registry_alone(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *manifest = manifest_of(OCI_QCOW2_LAYER, f->sha256, SIZE, "disk.qcow2");
    cleanup_free char *challenge = challenge_of(http_server_port(f->server));
    cleanup_free char *redirect =
        mem_printf("Location: http://127.0.0.1:%u/blob", http_server_port(f->elsewhere));
    write_login(f, http_server_port(f->server));
    add_rule(f, (struct http_rule){.path = "/token?service=s&scope=repository:org/disk:pull",
                    .authorization = BASIC,
                    .status = 200,
                    .body = "{\"token\":\"T\"}"});
    add_rule(f, (struct http_rule){.path = "/v2/org/disk/manifests/latest",
                    .authorization = "Bearer T",
                    .status = 200,
                    .body = manifest});
    add_rule(f, (struct http_rule){.path = "/v2/org/disk/blobs/sha256:",
                    .authorization = "Bearer T",
                    .status = 307,
                    .header = redirect});
    add_rule(f, (struct http_rule){.path = "/", .status = 401, .header = challenge});
    struct http_behaviour storage = {.body = f->bytes, .size = SIZE, .etag = "\"v1\""};
    http_server_behave(f->elsewhere, &storage);
    assert_int_equal(fetch_faulty(f), ERR_NONE);
    assert_is_cached(f);
    assert_int_equal(http_server_count(f->server), 4);
    assert_int_equal(count_requests(f->server, BASIC), 1);
    assert_int_equal(count_requests(f->server, "Bearer T"), 2);
    assert_int_equal(http_server_count(f->elsewhere), 1);
    assert_int_equal(count_requests(f->elsewhere, ""), 1);
}

static void a_login_is_not_sent_to_a_stranger(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *challenge =
        mem_printf("WWW-Authenticate: Bearer realm=\"http://localhost:%u/token\"",
            http_server_port(f->elsewhere));
    write_login(f, http_server_port(f->server));
    add_rule(f, (struct http_rule){.path = "/", .status = 401, .header = challenge});
    struct http_behaviour refusal = {.status = 401};
    http_server_behave(f->elsewhere, &refusal);
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_int_equal(http_server_count(f->elsewhere), 1);
    assert_int_equal(count_requests(f->elsewhere, ""), 1);
}

static void a_registry_that_refuses_its_own_token_is_asked_no_third_time(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *challenge = challenge_of(http_server_port(f->server));
    add_rule(f, (struct http_rule){.path = "/token", .status = 200, .body = "{\"token\":\"T\"}"});
    add_rule(f, (struct http_rule){.path = "/", .status = 401, .header = challenge});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_int_equal(http_server_count(f->server), 3);
}

static void a_broken_token_is_refused(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *challenge = challenge_of(http_server_port(f->server));
    add_rule(f, (struct http_rule){
                    .path = "/token", .status = 200, .body = "{\"token\":\"T\\r\\nX-Evil: 1\"}"});
    add_rule(f, (struct http_rule){.path = "/", .status = 401, .header = challenge});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_int_equal(http_server_count(f->server), 2);
}

static void a_layer_of_other_bytes_is_refused_and_not_kept(void **state)
{
    struct fixture *f = *state;
    char wrong[DIGEST_SIZE];
    digest_text("something else", wrong);
    cleanup_free char *manifest = manifest_of(OCI_QCOW2_LAYER, wrong, SIZE, "disk.qcow2");
    add_rule(
        f, (struct http_rule){.path = "/v2/org/disk/manifests/", .status = 200, .body = manifest});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_CHECKSUM);
    cleanup_free char *path = paths_image(&f->m.paths, f->sha256);
    assert_false(fs_exists(path));
}

static void a_cut_layer_goes_on_where_it_ended(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *manifest = manifest_of(OCI_QCOW2_LAYER, f->sha256, SIZE, "disk.qcow2");
    f->behaviour.cut_after = SIZE / 2;
    add_rule(
        f, (struct http_rule){.path = "/v2/org/disk/manifests/", .status = 200, .body = manifest});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_int_equal(fetch_faulty(f), ERR_NONE);
    assert_is_cached(f);
    assert_int_equal(http_server_count(f->server), 4);
    assert_string_equal(http_server_request(f->server, 3).range, "bytes=524288-");
}

static void a_manifest_of_another_digest_is_refused(void **state)
{
    struct fixture *f = *state;
    char wrong[DIGEST_SIZE];
    digest_text("something else", wrong);
    cleanup_free char *manifest = manifest_of(OCI_QCOW2_LAYER, f->sha256, SIZE, "disk.qcow2");
    add_rule(f, (struct http_rule){.path = "/", .status = 200, .body = manifest});
    cleanup_free char *url =
        mem_printf("oci://127.0.0.1:%u/org/disk@sha256:%s", http_server_port(f->server), wrong);
    assert_int_equal(fetch_url(f, url, NULL), ERR_IMAGE_CHECKSUM);
}

static void an_index_of_an_index_is_refused(void **state)
{
    struct fixture *f = *state;
    char digest[DIGEST_SIZE];
    digest_text("{\"manifests\":[]}", digest);
    cleanup_free char *index = mem_printf("{\"manifests\":[{\"digest\":\"sha256:%s\"}]}", digest);
    add_rule(f,
        (struct http_rule){
            .path = "/v2/org/disk/manifests/sha256:", .status = 200, .body = "{\"manifests\":[]}"});
    add_rule(f, (struct http_rule){.path = "/", .status = 200, .body = index});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_FORMAT);
    assert_int_equal(http_server_count(f->server), 2);
}

static void an_endless_manifest_is_cut_off(void **state)
{
    struct fixture *f = *state;
    const size_t n = 5 * 1024 * 1024;
    cleanup_free char *text = mem_calloc(1, n + 1);
    memset(text, ' ', n);
    add_rule(f, (struct http_rule){.path = "/", .status = 200, .body = text});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(f->m.error.message, "more than 4096 KiB"));
}

static void junk_for_a_manifest_is_told(void **state)
{
    struct fixture *f = *state;
    add_rule(f, (struct http_rule){.path = "/", .status = 200, .body = "<html>hello</html>"});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_FORMAT);
    f->behaviour.n_rules = 0;
    add_rule(f, (struct http_rule){.path = "/", .status = 503});
    assert_int_equal(fetch_faulty(f), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(f->m.error.message, "503"));
}

static bool was_asked(void *context)
{
    struct fixture *f = context;
    return http_server_count(f->server) == 1;
}

static void a_cancelled_lookup_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    f->behaviour.hold_after = 1; /* the manifest does not come to an end */
    http_server_behave(f->server, &f->behaviour);
    cleanup_free char *url = mem_printf("oci://127.0.0.1:%u/org/disk", http_server_port(f->server));
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    struct op *op = image_fetch(
        f->cache, &(struct image_order){.image = &image}, &f->result, media_host_done, &f->m);
    assert_true(media_host_wait_for(&f->m, was_asked, f));
    op_cancel(op);
    f->behaviour.hold_after = 0;
    add_rule(f, (struct http_rule){.path = "/", .status = 404});
    assert_int_equal(fetch_url(f, url, NULL), ERR_IMAGE_NOT_FOUND);
}

static void a_registry_behind_a_proxy_that_fails_names_the_proxy(void **state)
{
    struct fixture *f = *state;
    char http[] = "http://user:s3cret@127.0.0.1:1", variable[] = "all_proxy";
    const struct proxies proxies = {.http = http, .http_variable = variable};
    cleanup_free char *url = mem_printf("oci://127.0.0.1:%u/org/disk", http_server_port(f->server));
    struct spec_image image = {.kind = IMAGE_URL, .location = url};
    (void)image_fetch(f->cache, &(struct image_order){.image = &image, .proxies = &proxies},
        &f->result, media_host_done, &f->m);
    assert_int_equal(media_host_wait(&f->m, 1), ERR_IMAGE_DOWNLOAD);
    assert_non_null(strstr(
        f->m.error.message, "through the proxy http://127.0.0.1:1 (all_proxy of the command)"));
    assert_int_equal(http_server_count(f->server), 0);
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_image_is_pulled_and_recorded, setup),
        TEST(a_pulled_image_needs_no_registry_any_more, setup),
        TEST(a_packed_octet_stream_is_unpacked, setup),
        TEST(an_index_is_followed, setup),
        TEST(of_an_index_each_guest_gets_the_image_for_its_processor, setup),
        TEST(a_digest_names_a_manifest, setup),
        TEST(the_same_bytes_are_not_downloaded_twice, setup),
        TEST(a_wrong_pin_is_refused, setup),
        TEST(what_is_not_there_is_not_found, setup),
        TEST(an_image_without_a_disk_lists_its_layers, setup),
        TEST(a_private_registry_wants_the_login_of_config_json, setup_with_login),
        TEST(a_wrong_password_is_told_and_not_shown, setup_with_login),
        TEST(a_credential_helper_is_asked_by_its_protocol, setup_with_login),
        TEST(a_credential_helper_that_fails_is_named, setup_with_login),
        TEST(what_a_failed_helper_prints_is_repeated_without_its_secrets, setup_with_login),
        TEST(a_public_image_needs_no_helper, setup),
        TEST(a_token_is_got_with_the_login_and_shown_to_the_registry_alone, setup_without_registry),
        TEST(a_login_is_not_sent_to_a_stranger, setup_without_registry),
        TEST(a_registry_that_refuses_its_own_token_is_asked_no_third_time, setup_without_registry),
        TEST(a_broken_token_is_refused, setup_without_registry),
        TEST(a_layer_of_other_bytes_is_refused_and_not_kept, setup_without_registry),
        TEST(a_cut_layer_goes_on_where_it_ended, setup_without_registry),
        TEST(a_manifest_of_another_digest_is_refused, setup_without_registry),
        TEST(an_index_of_an_index_is_refused, setup_without_registry),
        TEST(an_endless_manifest_is_cut_off, setup_without_registry),
        TEST(junk_for_a_manifest_is_told, setup_without_registry),
        TEST(a_cancelled_lookup_leaves_nothing_behind, setup_without_registry),
        TEST(a_registry_behind_a_proxy_that_fails_names_the_proxy, setup_without_registry),
    };
    signal(SIGPIPE, SIG_IGN); /* as vmctld does: a helper need not read its input */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
