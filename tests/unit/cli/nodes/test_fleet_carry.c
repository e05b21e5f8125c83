/* SPDX-License-Identifier: MPL-2.0 */
/* A disk that does not fit on its new node: its old one, which reads all of it for each answer, is
 * not asked again before it does. */
#include "tests/unit/store/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "cli/archive/manifest.h"
#include "cli/archive/tar_stream.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/nodes/nodes.h"
#include "specs/base/cleanup.h"
#include "specs/fleet/fleet_config.h"

struct carry {
    struct fixture *f;
    struct cli cli;
    char *archive; /* what its old node sends */
    char *asked;   /* a byte for each time that it was asked */
};

static void put_text(const char *path, const char *text, mode_t mode)
{
    struct error err = {.code = ERR_NONE};
    must(fs_write_file(path, text, strlen(text), mode, &err), &err);
}

static void put(struct carry *carry, const char *row, const char *text)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_json json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    store_batch_put_json(batch, STORE_FLEET, row, json);
    must(store_commit(carry->f->store, batch, &err), &err);
    store_batch_free(batch);
}

static void request(struct carry *carry, const char *token)
{
    cleanup_free char *incoming = mem_printf(
        "{\"from\":\"b\",\"token\":\"%s\",\"uid\":\"u\",\"epoch\":1,\"offered\":true}", token);
    put(carry, "in/a/web", incoming);
}

static void write_archive(const char *path, uint64_t bytes)
{
    struct error err = {.code = ERR_NONE};
    struct manifest manifest = {.vm = mem_strdup("web"),
        .spec = vm_spec_new("web"),
        .snapshot = mem_new(struct vm_snapshot),
        .n_members = 1};
    cleanup_buf struct buf text = BUF_INIT(MANIFEST_BYTES_MAX);
    struct tar_member head = {.name = MANIFEST_NAME};
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct tar_writer *writer = tar_writer_new(fd);
    strcpy(manifest.members[0].tar.name, "disk.qcow2");
    memset(manifest.members[0].sha256, '0', DIGEST_SIZE - 1);
    manifest.members[0].tar.size = bytes;
    manifest_write(&manifest, &text);
    head.size = text.len;
    must(tar_writer_begin(writer, &head, &err), &err);
    must(tar_writer_add(writer, buf_str(&text), text.len, &err), &err);
    must(tar_writer_finish(writer, &err), &err);
    tar_writer_free(writer);
    assert_int_equal(close(fd), 0);
    manifest_clear(&manifest);
}

static int carry_set_up(void **state)
{
    static const char config[] =
        "{\"fleet\":\"home\",\"uid\":\"f-1\",\"node\":\"a\",\"ssh\":\"me@a\","
        "\"endpoints\":[\"https://x\"]}";
    struct error err = {.code = ERR_NONE};
    (void)fixture_set_up_open(state);
    struct carry *carry = mem_new(struct carry);
    carry->f = *state;
    carry->cli.paths = carry->f->paths;
    carry->cli.store = carry->f->store;
    carry->archive = paths_path(&carry->f->paths, "archive");
    carry->asked = paths_path(&carry->f->paths, "asked");
    cleanup_free char *bin = paths_path(&carry->f->paths, "bin");
    cleanup_free char *dir = paths_path(&carry->f->paths, "fleet");
    cleanup_free char *settings = paths_path(&carry->f->paths, FLEET_CONFIG_FILE);
    cleanup_free char *ssh = mem_printf("%s/ssh", bin);
    cleanup_free char *script =
        mem_printf("#!/bin/sh\nprintf x >>'%s'\ncat '%s'\n", carry->asked, carry->archive);
    cleanup_free char *path = mem_printf("%s:%s", bin, getenv("PATH"));
    must(fs_make_dirs(bin, 0700, &err), &err);
    must(fs_make_dirs(dir, 0700, &err), &err);
    put_text(settings, config, 0600);
    put_text(ssh, script, 0700);
    put_text(carry->asked, "", 0600);
    assert_int_equal(setenv("PATH", path, 1), 0);
    put(carry, "node/b", "{\"ssh\":\"me@b\"}");
    put(carry, "vm/b/web", "{\"spec\":{\"name\":\"web\",\"backend\":\"qemu\"}}");
    *state = carry;
    return 0;
}

static int carry_tear_down(void **state)
{
    struct carry *carry = *state;
    *state = carry->f;
    free(carry->archive);
    free(carry->asked);
    free(carry);
    return fixture_tear_down(state);
}

/* The bytes that it has recorded as missing room; 0: none. */
static int64_t fetch(struct carry *carry, enum error_code code)
{
    const char *words[] = {"fetch", "web"};
    const struct arg_strings arguments = {.items = words, .count = 2};
    struct error err = {.code = ERR_NONE};
    cleanup_json json_t *progress = NULL;
    assert_int_equal(fleet_fetch(&carry->cli, NULL, &arguments, &err), -(int)code);
    error_clear(&err);
    must(store_get_json(carry->f->store, STORE_FLEET, "fetched/web", &progress, &err), &err);
    assert_non_null(json_text(progress, "error"));
    return json_int(progress, "needs", 0);
}

static size_t times_asked(const struct carry *carry)
{
    struct stat st;
    assert_int_equal(stat(carry->asked, &st), 0);
    return (size_t)st.st_size;
}

static void its_node_is_not_asked_again_before_it_fits(void **state)
{
    enum { TIB = 40 };
    struct carry *carry = *state;
    int64_t bytes = (int64_t)1 << (TIB + 10);
    write_archive(carry->archive, (uint64_t)bytes);
    request(carry, "t-1");
    assert_int_equal(fetch(carry, ERR_NO_SPACE), bytes);
    assert_int_equal(times_asked(carry), 1);
    assert_int_equal(fetch(carry, ERR_NO_SPACE), bytes);
    assert_int_equal(fetch(carry, ERR_NO_SPACE), bytes);
    assert_int_equal(times_asked(carry), 1);

    /* once there is room for what it was, it is asked for again */
    put(carry, "fetched/web", "{\"token\":\"t-1\",\"error\":\"it does not fit\",\"needs\":1}");
    assert_int_equal(fetch(carry, ERR_NO_SPACE), bytes);
    assert_int_equal(times_asked(carry), 2);

    /* another request may be for another disk */
    request(carry, "t-2");
    assert_int_equal(fetch(carry, ERR_NO_SPACE), bytes);
    assert_int_equal(times_asked(carry), 3);
}

static void after_another_failure_it_is_asked_again(void **state)
{
    struct carry *carry = *state;
    put_text(carry->archive, "no archive", 0600);
    request(carry, "t-1");
    assert_int_equal(fetch(carry, ERR_ARCHIVE), 0);
    assert_int_equal(fetch(carry, ERR_ARCHIVE), 0);
    assert_int_equal(times_asked(carry), 2);
}

int main(void)
{
#define CARRIED(test) cmocka_unit_test_setup_teardown(test, carry_set_up, carry_tear_down)
    const struct CMUnitTest tests[] = {
        CARRIED(its_node_is_not_asked_again_before_it_fits),
        CARRIED(after_another_failure_it_is_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
