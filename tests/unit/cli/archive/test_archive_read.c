/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/archive/archive_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/archive/archive_write.h"
#include "cli/archive/tar_stream.h"
#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/vm/record_fields.h"
#include "specs/vm/vm_spec.h"

/* A manifest with these members, of no size. Caller owns. */
static json_t *make_manifest(const char *const *names, size_t n)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    cleanup_with(manifest_clear) struct manifest manifest = {.n_members = n};
    manifest.vm = mem_strdup("web");
    manifest.spec = vm_spec_new("web");
    manifest.spec->image.location = mem_strdup("/i.qcow2");
    manifest.snapshot = fields_new(&vm_snapshot_fields);
    manifest.snapshot->prepared.image_path = mem_strdup("/etc/shadow");
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(manifest.members[i].tar.name, TAR_NAME_SIZE, "%s", names[i]);
        digest_text("", manifest.members[i].sha256);
    }
    manifest_write(&manifest, &text);
    return json_loadb(buf_str(&text), text.len, 0, NULL);
}

/* Opens an archive that begins with it; the error's message is left in *err. */
static int open_with(const json_t *manifest, struct archive *ret, struct error *err)
{
    struct error none = {0};
    cleanup_close int fd = memfd_create("archive", MFD_CLOEXEC);
    cleanup_free char *text = json_dumps(manifest, 0);
    struct tar_writer *writer = tar_writer_new(fd);
    struct tar_member member = {.name = MANIFEST_NAME, .size = strlen(text)};
    assert_int_equal(tar_writer_begin(writer, &member, &none), 0);
    assert_int_equal(tar_writer_add(writer, text, strlen(text), &none), 0);
    assert_int_equal(tar_writer_finish(writer, &none), 0);
    tar_writer_free(writer);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return archive_open(fd, "it", ret, err);
}

static void refused(const json_t *manifest, const char *words)
{
    struct error err = {0};
    cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
    assert_int_equal(open_with(manifest, &archive, &err), -ERR_ARCHIVE);
    if (!strstr(err.message, words)) {
        fail_msg("'%s' is not in '%s'", words, err.message);
    }
}

static void numbers_that_no_vmfile_takes_are_refused(void **state)
{
    static const char *const names[] = {"id_ed25519", "disk.qcow2"};
    static const struct {
        const char *key;
        int64_t value;
    } rows[] = {{"vcpus", 0}, {"vcpus", 1000000000}, {"memoryMib", 0}, {"memoryMib", 17 << 20},
        {"maxVcpus", 1025}, {"diskGib", 70000}, {"stopTimeoutSeconds", 86401}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_json json_t *manifest = make_manifest(names, 2);
        json_put_int(json_object_get(manifest, "spec"), rows[i].key, rows[i].value);
        refused(manifest, "its settings have values that no VMFile can have");
    }
}

/* Of a backup: the disk is not a member, and has a plain name. */
static void the_disk_of_a_backup_has_a_name_in_its_directory(void **state)
{
    static const char *const names[] = {"id_ed25519", "disk.qcow2"};
    static const char *const wrong[] = {"../a.qcow2", "/etc/a.qcow2", "a.raw", "",
        "nbd:host:10809:exportname=a.qcow2", "a:b.qcow2"};
    cleanup_json json_t *manifest = make_manifest(names, 1);
    cleanup_json json_t *both = make_manifest(names, 2);
    char sha256[DIGEST_SIZE];
    digest_text("", sha256);
    (void)state;
    refused(manifest, "list exactly one disk");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        json_t *disk = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s}", "file", "a.qcow2", "bytes", 5,
            "sha256", sha256, "parent", "b.qcow2", "bitmap", "~1", "uid", "u");
        json_put(manifest, "disk", json_incref(disk));
        json_put(both, "disk", json_incref(disk));
        struct error err = {0};
        cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
        assert_int_equal(open_with(manifest, &archive, &err), 0);
        assert_string_equal(archive.manifest.disk.parent, "b.qcow2");
        refused(both, "list exactly one disk");
        json_put_text(disk, i % 2 ? "file" : "parent", wrong[i]);
        refused(manifest, "does not describe its disk");
        json_put_text(disk, i % 2 ? "file" : "parent", "c.qcow2");
        json_put_text(disk, "sha256", "12");
        refused(manifest, "does not describe its disk");
        json_decref(disk);
    }
}

static void what_a_manifest_says_of_the_other_host_is_forgotten(void **state)
{
    static const char *const names[] = {"id_ed25519", "disk.qcow2", "volume-data.qcow2"};
    struct error err = {0};
    cleanup_json json_t *manifest = make_manifest(names, ARRAY_LEN(names));
    cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
    (void)state;
    assert_int_equal(open_with(manifest, &archive, &err), 0);
    assert_string_equal(archive.manifest.vm, "web");
    assert_int_equal(archive.manifest.n_members, 3);
    assert_null(archive.manifest.snapshot->prepared.image_path);
}

static void an_imported_guest_reaches_no_more_than_where_it_was(void **state)
{
    const struct cli cli = {.is_quiet = true};
    const struct manifest manifest = {.n_members = 0};
    struct vm_spec *spec = vm_spec_new("web");
    (void)state;
    spec->vnc = (struct spec_vnc){5901, mem_strdup("/their/password")};
    spec->network.mode = NETWORK_PROJECT;
    spec->network.services = mem_calloc(1, sizeof(*spec->network.services));
    spec->network.n_services = 1;
    manifest_settle_spec(&cli, &manifest, spec);
    assert_int_equal(spec->vnc.port, 0);
    assert_int_equal(spec->network.n_services, 0);
    assert_int_equal(spec->network.mode, NETWORK_USER);
    spec->network.mode = NETWORK_PROJECT;
    spec->network.is_isolated = true;
    manifest_settle_spec(&cli, &manifest, spec);
    assert_int_equal(spec->network.mode, NETWORK_NONE);
    vm_spec_free(spec);
}

static void it_keeps_its_networks_but_shares_them_with_nobody(void **state)
{
    const struct cli cli = {.is_quiet = true};
    const struct manifest manifest = {.n_members = 0};
    struct vm_spec *spec = vm_spec_new("shop/web");
    (void)state;
    spec->further_networks = mem_calloc(2, sizeof(*spec->further_networks));
    spec->n_further_networks = 2;
    spec->network = (struct spec_network){
        .mode = NETWORK_PROJECT, .network = mem_strdup("shop-1"), .is_isolated = true};
    spec->further_networks[0] = (struct spec_network){
        .mode = NETWORK_PROJECT, .network = mem_strdup("shop-1.lan"), .is_isolated = true};
    spec->further_networks[1] = (struct spec_network){.mode = NETWORK_USER};
    spec->further_networks[0].services = mem_calloc(1, sizeof(*spec->network.services));
    spec->further_networks[0].n_services = 1;
    manifest_settle_spec(&cli, &manifest, spec);
    assert_int_equal(spec->n_further_networks, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct spec_network *network = vm_spec_network(spec, i);
        assert_int_equal(network->mode, NETWORK_PROJECT);
        assert_true(network->is_isolated);
        assert_int_equal(network->n_services, 0);
        assert_string_equal(network->project, "web");
        assert_int_equal(strncmp(network->network, "import-web+", 11), 0);
    }
    assert_string_not_equal(spec->network.network, spec->further_networks[0].network);
    assert_int_equal(spec->further_networks[1].mode, NETWORK_USER);
    vm_spec_free(spec);
}

/* Of a disk that is none. */
static void what_was_written_is_unpacked_and_looked_at(void **state)
{
    char dir[] = "/tmp/vmctl-archive.XXXXXX";
    struct cli cli = {.is_quiet = true, .paths.data_dir = mkdtemp(dir)};
    struct error err = {0};
    cleanup_close int fd = memfd_create("archive", MFD_CLOEXEC);
    cleanup_with(archive_clear) struct archive archive = {.disk_bytes = 0};
    struct archive_parts parts = {.manifest.n_members = 1};
    struct manifest *manifest = &parts.manifest;
    (void)state;
    manifest->vm = mem_strdup("web");
    manifest->spec = vm_spec_new("web");
    manifest->spec->image.location = mem_strdup("/i.qcow2");
    manifest->snapshot = fields_new(&vm_snapshot_fields);
    manifest->members[0].tar = (struct tar_member){.name = "disk.qcow2", .size = 5};
    digest_text("hello", manifest->members[0].sha256);
    parts.files[0].fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(write(parts.files[0].fd, "hello", 5), 5);
    assert_int_equal(archive_write(&cli, &parts, fd, &err), 0);
    archive_parts_clear(&parts);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(archive_open(fd, "it", &archive, &err), 0);
    assert_int_equal(archive_unpack_all(&cli, &archive, &err), -ERR_ARCHIVE);
    assert_non_null(strstr(err.message, "disk.qcow2 is not a qcow2 file"));
    assert_int_equal(rmdir(dir), 0); /* nothing was left in it */
}

static void members_that_are_none_of_a_vm_are_refused(void **state)
{
    static const char *const others[] = {"overlay.qcow2", "volume-../x.qcow2", "volume-.qcow2",
        "volume-a/b.qcow2", "known_hosts", "", ".."};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const char *names[] = {"disk.qcow2", others[i]};
        cleanup_json json_t *manifest = make_manifest(names, 2);
        refused(manifest, "lists a file that a VM does not have");
    }
    static const char *const twice[] = {"disk.qcow2", "disk.qcow2"}, *const none[] = {"seed.iso"};
    cleanup_json json_t *first = make_manifest(twice, 2), *second = make_manifest(none, 1);
    refused(first, "lists a file twice");
    refused(second, "list exactly one disk");
}

static void a_manifest_that_is_not_of_this_vmctl_is_refused(void **state)
{
    static const char *const names[] = {"disk.qcow2"};
    static const struct {
        const char *key, *value, *words;
    } cases[] = {
        {"format", "2", "has format 2"},
        {"format", "\"1\"", "cannot be read"},
        {"format", "0", "cannot be read"},
        {"members", "{}", "list exactly one disk"},
        {"spec", "{}", "does not describe a VM"},
        {"spec", "{\"name\": \"../x\"}", "does not describe a VM"},
        {"spec", "{\"name\": \"a\", \"machine\": \"q35,kernel=/x\"}", "that no VMFile can have"},
        {"spec", "{\"name\": \"a\", \"ssh\": {\"user\": \"-oProxyCommand=x\"}}",
            "that no VMFile can have"},
        {"spec",
            "{\"name\": \"a\", \"network\": {\"forwards\": [{\"hostPort\": 1, \"guestPort\": 1, "
            "\"address\": \"1.2.3\"}]}}",
            "that no VMFile can have"},
        {"mac", "\"52:54:00:12:34:56,x=y\"", "that no VMFile can have"},
        {"snapshot", "null", "does not describe the state of its disk"},
        {"snapshot", "{\"provision\": {\"total\": 1, \"nextStep\": 2}}", "contradicts itself"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_json json_t *manifest = make_manifest(names, 1);
        json_t *value = json_loads(cases[i].value, JSON_DECODE_ANY, NULL);
        (void)json_object_set_new(manifest, cases[i].key, value);
        refused(manifest, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_no_vmfile_takes_are_refused),
        cmocka_unit_test(the_disk_of_a_backup_has_a_name_in_its_directory),
        cmocka_unit_test(what_a_manifest_says_of_the_other_host_is_forgotten),
        cmocka_unit_test(an_imported_guest_reaches_no_more_than_where_it_was),
        cmocka_unit_test(it_keeps_its_networks_but_shares_them_with_nobody),
        cmocka_unit_test(what_was_written_is_unpacked_and_looked_at),
        cmocka_unit_test(members_that_are_none_of_a_vm_are_refused),
        cmocka_unit_test(a_manifest_that_is_not_of_this_vmctl_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
