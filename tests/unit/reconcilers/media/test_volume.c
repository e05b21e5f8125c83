/* SPDX-License-Identifier: MPL-2.0 */
/* The files of volumes: made once, and never replaced. */
#include "reconcilers/media/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/backend/backend.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/image/qcow2.h"
#include "specs/image/volume_file.h"
#include "store/batch.h"
#include "store/store.h"
#include "tests/support/media_host.h"

struct fixture {
    struct media_host m;
    struct vm_status *status;
    struct vm_spec *spec;
    struct vm_env env;
    char *path;
};

static int setup(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->status = vm_status_new("u");
    f->spec = vm_spec_new("web");
    mem_grow(f->spec->volumes, f->spec->n_volumes);
    f->spec->volumes[f->spec->n_volumes++] =
        (struct spec_volume){.name = mem_strdup("data"), .size_gib = 3};
    f->env =
        (struct vm_env){.host = &f->m.host, .name = "web", .spec = f->spec, .status = f->status};
    f->path = volume_path(&f->m.paths, "data");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vm_status_free(f->status);
    vm_spec_free(f->spec);
    free(f->path);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static enum error_code make(struct fixture *f)
{
    (void)volumes_make(&f->env, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static void count_entry(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    (void)name;
    ++*(unsigned *)context;
}

static void a_missing_one_is_made_and_one_that_is_there_stays(void **state)
{
    struct fixture *f = *state;
    struct stat first, second;
    unsigned n_files = 0;
    assert_true(volumes_are_due(&f->env));
    assert_int_equal(make(f), ERR_NONE);
    assert_int_equal(volume_bytes(&f->m.paths, "data"), (int64_t)3 << 30);
    assert_false(volumes_are_due(&f->env));
    assert_int_equal(stat(f->path, &first), 0);
    assert_int_equal(first.st_mode & 0777, 0600);
    assert_int_equal(make(f), ERR_NONE);
    assert_int_equal(stat(f->path, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    cleanup_free char *check = mem_printf("qemu-img check -q %s", f->path);
    assert_int_equal(system(check), 0);
    cleanup_free char *directory = mem_printf("%s/volumes/data", f->m.paths.data_dir);
    fs_each_entry(directory, count_entry, &n_files);
    assert_int_equal(n_files, 1);
}

/* Two VMs make it at the same moment; or a vmctld was killed before the name was there. */
static void what_another_left_unfinished_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *directory = mem_printf("%s/volumes/data", f->m.paths.data_dir);
    cleanup_free char *new = mem_printf("%s.new", f->path);
    cleanup_free char *temporary = mem_printf("%s.new.tmp-1", f->path);
    assert_int_equal(fs_make_dirs(directory, 0700, &err), 0);
    assert_int_equal(fs_write_file(new, "half", 4, 0600, &err), 0);
    assert_int_equal(fs_write_file(temporary, "half", 4, 0600, &err), 0);
    assert_int_equal(make(f), ERR_NONE);
    assert_int_equal(volume_bytes(&f->m.paths, "data"), (int64_t)3 << 30);
    assert_false(fs_exists(new));
    assert_false(fs_exists(temporary));
}

static void it_does_not_shrink_and_grows_with_the_machine(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(make(f), ERR_NONE);
    f->spec->volumes[0].size_gib = 4; /* by QEMU, at the start or while it runs */
    assert_false(volumes_are_due(&f->env));
    f->spec->volumes[0].size_gib = 0;
    assert_false(volumes_are_due(&f->env));
    f->spec->volumes[0].size_gib = 2;
    assert_true(volumes_are_due(&f->env));
    assert_int_equal(make(f), ERR_DISK_SHRINK);
    assert_int_equal(volume_bytes(&f->m.paths, "data"), (int64_t)3 << 30);
}

static void expect_refused(struct fixture *f, const void *bytes, size_t n)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(f->path, bytes, n, 0600, &err), 0);
    assert_int_equal(volume_bytes(&f->m.paths, "data"), VOLUME_IS_FOREIGN);
    assert_true(volumes_are_due(&f->env));
    assert_int_equal(make(f), ERR_OVERLAY);
}

/* QEMU would open whatever file of the host it names. */
static void a_file_that_leads_to_another_is_refused(void **state)
{
    struct fixture *f = *state;
    struct qcow2_overlay image;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(make(f), ERR_NONE);
    assert_int_equal(qcow2_make_overlay("/etc/passwd", "raw", 1 << 20, &image, &err), 0);
    expect_refused(f, image.head, sizeof(image.head));
    expect_refused(f, "raw", 3);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(symlink("/etc/passwd", f->path), 0);
    assert_int_equal(volume_bytes(&f->m.paths, "data"), VOLUME_IS_FOREIGN);
    assert_int_equal(make(f), ERR_OVERLAY);
}

/* What the record of the end of a VM says: vm/volumes.h. */
static void record_used(struct store *store, int64_t bytes)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    cleanup_free char *key = volume_record_key("data");
    cleanup_json json_t *record = json_object();
    json_put_int(record, "fileBytes", bytes);
    store_batch_put_json(batch, STORE_META, key, record);
    assert_int_equal(store_commit(store, batch, &err), 0);
    store_batch_free(batch);
}

static void expect_refusal(struct fixture *f, const char *what)
{
    f->m.error = (struct error){.code = ERR_NONE};
    assert_true(volumes_are_due(&f->env));
    assert_int_equal(make(f), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "volume 'data'"));
    assert_non_null(strstr(f->m.error.message, what));
    assert_non_null(strstr(error_help_text(&f->m.error), "vmctl volume rm data"));
}

static void write_data(const struct fixture *f, const char *pattern)
{
    cleanup_free char *command =
        mem_printf("qemu-io -c 'write -P %s' %s >/dev/null", pattern, f->path);
    assert_int_equal(system(command), 0);
}

static void one_that_was_used_is_not_made_again_nor_used_when_it_lost_its_data(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    struct store *store = NULL;
    assert_int_equal(store_open(&f->m.paths, &store, &err), 0);
    f->m.host.store = store;
    cleanup_free char *aside = mem_printf("%s.aside", f->path);
    assert_int_equal(make(f), ERR_NONE);
    write_data(f, "7 0 4M");
    record_used(store, fs_size(f->path));
    assert_false(volumes_are_due(&f->env));
    assert_int_equal(rename(f->path, aside), 0);
    expect_refusal(f, "is gone");
    assert_false(fs_exists(f->path));
    f->m.host.store = NULL; /* without the record it is made, as ever, and is empty */
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(make(f), ERR_NONE);
    f->m.host.store = store;
    expect_refusal(f, "it is empty");
    write_data(f, "9 0 1M"); /* as from a backup: shorter, and whole */
    assert_false(volumes_are_due(&f->env));
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(make(f), ERR_NONE);
    assert_int_equal(rename(aside, f->path), 0);
    assert_int_equal(truncate(f->path, 3 << 20), 0);
    expect_refusal(f, "is cut off");
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_missing_one_is_made_and_one_that_is_there_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_another_left_unfinished_is_no_obstacle, setup, teardown),
        cmocka_unit_test_setup_teardown(
            it_does_not_shrink_and_grows_with_the_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_leads_to_another_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            one_that_was_used_is_not_made_again_nor_used_when_it_lost_its_data, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
