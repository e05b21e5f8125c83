/* SPDX-License-Identifier: MPL-2.0 */
/* Sealing and removing: complete or absent, once, and only what nobody uses. */
#include "reconcilers/template/template_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/trash/trash.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/template.h"
#include "store/store.h"
#include "tests/support/media_host.h"

static const char *user_of;     /* digest of the template that the VM "web" uses; NULL: none */
static const char *snapshot_of; /* of the one that a snapshot of the VM "db" uses; NULL: none */
static bool is_used_twice;      /* by "myweb", too */

static void show_snapshot_of(
    void (*each)(void *context, const struct vm_view *view), void *context, const char *digest)
{
    struct vm_status *status = vm_status_new("uid2");
    struct vm_view view = {.name = "db", .status = status};
    vm_status_add_snapshot(status, "before", "f", 1, 1);
    (void)snprintf(status->snapshots[0].prepared.template_digest, DIGEST_SIZE, "%s", digest);
    each(context, &view);
    vm_status_free(status);
}

static int each_vm(struct reconciler_host *host,
    void (*each)(void *context, const struct vm_view *view), void *context, struct error *err)
{
    struct vm_status *status = vm_status_new("uid");
    struct vm_view view = {.name = "myweb", .status = status};
    (void)host;
    (void)err;
    if (user_of) {
        (void)snprintf(status->warm.template_digest, DIGEST_SIZE, "%s", user_of);
    }
    if (is_used_twice) {
        each(context, &view);
    }
    view.name = "web";
    each(context, &view);
    vm_status_free(status);
    if (snapshot_of) {
        show_snapshot_of(each, context, snapshot_of);
    }
    return 0;
}

static int setup(void **state)
{
    struct media_host *m = mem_new(struct media_host);
    struct error err = {0};
    media_host_setup(m);
    m->host.each_vm = each_vm;
    assert_int_equal(store_open(&m->paths, &m->host.store, &err), 0);
    user_of = snapshot_of = NULL;
    is_used_twice = false;
    cleanup_free char *dir = paths_vm(&m->paths, "~0", VM_DIR);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    static const enum vm_file files[] = {VM_OVERLAY, VM_PROVISION_LOG};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = paths_vm(&m->paths, "~0", files[i]);
        assert_int_equal(fs_write_file(path, "bytes", 5, 0600, &err), 0);
    }
    *state = m;
    return 0;
}

static int teardown(void **state)
{
    struct media_host *m = *state;
    store_close(m->host.store);
    media_host_teardown(m);
    free(m);
    return 0;
}

static void name_it(char *digest)
{
    digest_text("{}", digest);
}

static int seal_it(struct media_host *m, struct error *err)
{
    struct vm_env env = {.host = &m->host, .name = "~0"};
    struct template_record *record = template_record_new();
    cleanup_free char *disk = paths_vm(&m->paths, "~0", VM_OVERLAY);
    record->format = TEMPLATE_FORMAT;
    record->key = mem_strdup("{}");
    record->image_path = mem_strdup("/i.qcow2");
    name_it(record->digest);
    m->error = (struct error){.code = ERR_NONE};
    (void)template_seal(&env, disk, record, media_host_done, m);
    int rc = -(int)media_host_wait(m, 1);
    *err = m->error;
    return rc;
}

static struct template_record *find(struct media_host *m)
{
    char digest[DIGEST_SIZE];
    struct error err = {0};
    name_it(digest);
    struct template_record *record = template_find(&m->paths, digest, &err);
    assert_int_equal(err.code, ERR_NONE);
    return record;
}

static void a_sealed_disk_stays_when_its_builder_goes(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    struct stat st;
    assert_int_equal(seal_it(m, &err), 0);
    assert_int_equal(fs_remove_beneath(m->paths.data_dir, "vms", "~0", &err), 0);
    struct template_record *record = find(m);
    char sha[DIGEST_SIZE];
    digest_text("bytes", sha);
    assert_string_equal(record->disk_sha256, sha);
    cleanup_free char *disk = template_path(&m->paths, record->digest, "disk.qcow2");
    cleanup_free char *log = template_path(&m->paths, record->digest, "provision.log");
    assert_int_equal(stat(disk, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0400);
    assert_true(fs_exists(log));
    template_record_free(record);
}

/* Killed between any two of its steps, the next one does all of it; killed behind it, nothing. */
static void done_again_it_is_done_once(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    cleanup_free char *hidden = mem_printf(".%s", digest);
    cleanup_free char *half = template_path(&m->paths, hidden, "");
    cleanup_free char *rest = template_path(&m->paths, hidden, "disk.qcow2");
    assert_int_equal(fs_make_dirs(half, 0700, &err), 0);
    assert_int_equal(fs_write_file(rest, "half", 4, 0600, &err), 0);
    assert_null(find(m)); /* what is not complete is not there */
    assert_int_equal(seal_it(m, &err), 0);
    assert_false(fs_exists(half));
    struct template_record *first = find(m);
    cleanup_free char *overlay = paths_vm(&m->paths, "~0", VM_OVERLAY);
    assert_int_equal(unlink(overlay), 0); /* as if the builder's were another one now */
    assert_int_equal(fs_write_file(overlay, "other", 5, 0600, &err), 0);
    assert_int_equal(seal_it(m, &err), 0);
    struct template_record *second = find(m);
    assert_string_equal(first->disk_sha256, second->disk_sha256);
    template_record_free(first);
    template_record_free(second);
}

static void one_that_cannot_be_sealed_leaves_nothing(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    cleanup_free char *overlay = paths_vm(&m->paths, "~0", VM_OVERLAY);
    cleanup_free char *hidden = mem_printf(".%s", digest);
    cleanup_free char *half = template_path(&m->paths, hidden, "");
    assert_int_equal(unlink(overlay), 0);
    assert_int_equal(seal_it(m, &err), -ERR_TEMPLATE);
    assert_non_null(strstr(err.message, "overlay.qcow2"));
    assert_null(find(m));
    assert_false(fs_exists(half));
}

static int remove_all(struct media_host *m, const json_t *digests, bool is_dry_run, size_t expected)
{
    struct error err = {0};
    cleanup_json json_t *answer = json_object();
    const struct template_order order = {.digests = digests, .is_dry_run = is_dry_run};
    int rc = template_remove(&m->host, &order, answer, &err);
    assert_int_equal(json_array_size(json_object_get(answer, "removed")), expected);
    assert_int_equal(rc, -(int)err.code);
    return rc;
}

/* After the seal, as its reconciler does it. */
static void remove_builder(struct media_host *m)
{
    struct error err = {0};
    assert_int_equal(fs_remove_beneath(m->paths.data_dir, "vms", "~0", &err), 0);
}

static void make_old(struct media_host *m, const char *digest)
{
    cleanup_free char *json = template_path(&m->paths, digest, "template.json");
    const time_t then = (time_t)(clock_wall_ms(m->host.clock) / 1000) - 15 * 24 * 3600;
    const struct timespec times[] = {{.tv_sec = then}, {.tv_sec = then}};
    assert_int_equal(utimensat(AT_FDCWD, json, times, 0), 0);
}

static void what_is_used_stays(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    cleanup_json json_t *digests = json_pack("[s]", digest);
    cleanup_json json_t *outside = json_pack("[s]", "../vms");
    assert_int_equal(seal_it(m, &err), 0);
    remove_builder(m);
    user_of = digest; /* only intends to clone it */
    assert_int_equal(remove_all(m, digests, false, 0), -ERR_VM_CONFLICT);
    assert_int_equal(remove_all(m, NULL, false, 0), 0);
    user_of = NULL;
    assert_int_equal(remove_all(m, outside, false, 0), -ERR_TEMPLATE_NOT_FOUND);
    assert_int_equal(remove_all(m, NULL, true, 1), 0);
    struct template_record *record = find(m);
    assert_non_null(record);
    template_record_free(record);
    template_sweep(&m->host, true); /* not old enough */
    record = find(m);
    assert_non_null(record);
    template_record_free(record);
    assert_int_equal(remove_all(m, digests, false, 1), 0);
    assert_null(find(m));
    assert_int_equal(remove_all(m, digests, false, 0), -ERR_TEMPLATE_NOT_FOUND);
}

static void what_was_not_cloned_for_two_weeks_goes(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    assert_int_equal(seal_it(m, &err), 0);
    remove_builder(m);
    make_old(m, digest);
    user_of = digest;
    template_sweep(&m->host, false);
    struct template_record *record = find(m);
    assert_non_null(record);
    template_record_free(record);
    user_of = NULL;
    template_touch(&m->paths, digest); /* cloned a moment ago */
    template_sweep(&m->host, false);
    record = find(m);
    assert_non_null(record);
    template_record_free(record);
    make_old(m, digest);
    template_sweep(&m->host, false);
    assert_null(find(m));
}

static void all_users_are_named_and_how_to_remove_them(void **state)
{
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    cleanup_json json_t *digests = json_pack("[s]", digest);
    cleanup_json json_t *answer = json_object();
    const struct template_order order = {.digests = digests};
    assert_int_equal(seal_it(m, &err), 0);
    remove_builder(m);
    user_of = snapshot_of = digest;
    is_used_twice = true;
    assert_int_equal(template_remove(&m->host, &order, answer, &err), -ERR_VM_CONFLICT);
    assert_non_null(strstr(err.message, "is in use by: myweb web db@before"));
    assert_string_equal(error_help_text(&err),
        "first remove what uses it: vmctl snapshot rm db before; vmctl destroy myweb web");
}

/* No record says that the disk of "db" lies on the template: the store was moved aside, or has
 * taken that record out as damaged. */
static void nothing_goes_while_a_disk_has_lost_its_record(void **state)
{
    static const char *const places[][3] = {{"vms", "db", "or remove one: rm -r '"},
        {"quarantine", "db-1", "or remove one: vmctl quarantine rm 'db-1'"}};
    struct media_host *m = *state;
    struct error err = {0};
    char digest[DIGEST_SIZE];
    name_it(digest);
    cleanup_json json_t *digests = json_pack("[s]", digest);
    assert_int_equal(seal_it(m, &err), 0);
    remove_builder(m);
    make_old(m, digest);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const char *const *place = places[i];
        cleanup_free char *directory =
            mem_printf("%s/%s/%s", m->paths.data_dir, place[0], place[1]);
        assert_int_equal(fs_make_dirs(directory, 0700, &err), 0);
        template_sweep(&m->host, true);
        struct template_record *record = find(m);
        assert_non_null(record);
        template_record_free(record);
        assert_int_equal(remove_all(m, NULL, true, 0), -ERR_VM_CONFLICT);
        assert_int_equal(remove_all(m, NULL, false, 0), -ERR_VM_CONFLICT);
        assert_int_equal(remove_all(m, digests, false, 0), -ERR_VM_CONFLICT);
        struct error why = {0};
        assert_int_equal(removal_check_orphans(&m->host, &why), -ERR_VM_CONFLICT);
        assert_non_null(strstr(error_help_text(&why), place[2]));
        assert_int_equal(fs_remove_beneath(m->paths.data_dir, place[0], place[1], &err), 0);
    }
    template_sweep(&m->host, true);
    assert_null(find(m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sealed_disk_stays_when_its_builder_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(done_again_it_is_done_once, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_cannot_be_sealed_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_used_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_cloned_for_two_weeks_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(
            all_users_are_named_and_how_to_remove_them, setup, teardown),
        cmocka_unit_test_setup_teardown(
            nothing_goes_while_a_disk_has_lost_its_record, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
