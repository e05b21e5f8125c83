/* SPDX-License-Identifier: MPL-2.0 */
/* The files of snapshots, with a controller that may be killed between any two of its steps. */
#include "reconcilers/media/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/file_stamp.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "tests/support/media_host.h"

struct fixture {
    struct media_host m;
    struct vm_status *status;
    char *overlay, *seed;
};

static void put(const char *path, const char *text)
{
    struct error err = {.code = ERR_NONE};
    assert_int_equal(fs_write_file(path, text, strlen(text), 0600, &err), 0);
}

static int setup(void **state)
{
    struct error err = {.code = ERR_NONE};
    struct fixture *f = mem_new(struct fixture);
    media_host_setup(&f->m);
    f->status = vm_status_new("u");
    f->overlay = paths_vm(&f->m.paths, "web", VM_OVERLAY);
    f->seed = paths_vm(&f->m.paths, "web", VM_SEED);
    cleanup_free char *dir = paths_vm(&f->m.paths, "web", VM_DIR);
    assert_int_equal(fs_make_dirs(dir, 0700, &err), 0);
    put(f->overlay, "first");
    put(f->seed, "seed 1");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vm_status_free(f->status);
    free(f->overlay);
    free(f->seed);
    media_host_teardown(&f->m);
    free(f);
    return 0;
}

static enum error_code run(
    struct fixture *f, enum snapshot_verb verb, const char *name, const char *token)
{
    struct vm_env env = {.host = &f->m.host, .name = "web", .status = f->status};
    struct snapshot_order order = {.verb = verb};
    (void)snprintf(order.name, sizeof(order.name), "%s", name);
    (void)snprintf(order.token, sizeof(order.token), "%s", token);
    (void)snapshot_start(&env, &order, media_host_done, &f->m);
    return media_host_wait(&f->m, 1);
}

static char *content(const char *path)
{
    struct error err = {.code = ERR_NONE};
    struct buf text = BUF_INIT(65536);
    return fs_read_file(path, &text, &err) < 0 ? (buf_clear(&text), mem_strdup("-"))
                                               : buf_steal(&text);
}

static void expect_content(const char *path, const char *expected)
{
    cleanup_free char *found = content(path);
    assert_string_equal(found, expected);
}

static void expect_disk(struct fixture *f, const char *disk, const char *seed)
{
    expect_content(f->overlay, disk);
    expect_content(f->seed, seed);
}

/* "-": there is none */
static void expect_copy(struct fixture *f, const char *file, const char *expected)
{
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", file);
    expect_content(path, expected);
}

static void count_entry(void *context, int dir_fd, const char *name)
{
    (void)dir_fd;
    (void)name;
    ++*(unsigned *)context;
}

static unsigned n_files(struct fixture *f)
{
    unsigned n = 0;
    cleanup_free char *dir = mem_printf("%s/vms/web/snapshots", f->m.paths.data_dir);
    fs_each_entry(dir, count_entry, &n);
    return n;
}

static void record(struct fixture *f, const char *name, const char *file)
{
    vm_status_add_snapshot(f->status, name, file, 1, 1);
}

static void guest_writes(struct fixture *f, const char *disk, const char *seed)
{
    put(f->overlay, disk);
    put(f->seed, seed);
}

static void a_copy_shares_nothing_with_the_disk(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", "aaa");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    guest_writes(f, "second", "seed 2");
    expect_copy(f, "aaa", "first");
    record(f, "one", "aaa");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_copy(f, "bbb", "second");
    guest_writes(f, "third", "seed 3"); /* nor does a restored disk with its snapshot */
    expect_copy(f, "aaa", "first");
    expect_copy(f, "bbb", "second");
}

/* Killed before it was recorded: the same request is carried out once more. */
static void done_twice_it_keeps_what_the_first_time_kept(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    }
    assert_int_equal(n_files(f), 2);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
        expect_disk(f, "first", "seed 1");
        expect_copy(f, "bbb", "second");
    }
    record(f, SNAPSHOT_BEFORE_RESTORE, "bbb");
    for (int i = 0; i < 2; i++) { /* the undo */
        assert_int_equal(run(f, SNAPSHOT_RESTORE, SNAPSHOT_BEFORE_RESTORE, "ccc"), ERR_NONE);
        expect_disk(f, "second", "seed 2");
        expect_copy(f, "ccc", "first");
        expect_copy(f, "bbb", "-");
    }
    record(f, SNAPSHOT_BEFORE_RESTORE, "ccc");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, SNAPSHOT_REMOVE, "one", "ddd"), ERR_NONE);
        expect_copy(f, "aaa", "-");
        expect_copy(f, "ccc", "first");
    }
    assert_int_equal(n_files(f), 2);
    expect_disk(f, "second", "seed 2");
}

/* Killed when the present disk had its second name, and not yet been replaced. */
static void interrupted_in_the_middle_it_keeps_the_present_disk(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    cleanup_free char *kept = snapshot_path(&f->m.paths, "web", "bbb");
    assert_int_equal(link(f->overlay, kept), 0);
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_copy(f, "bbb", "second");
}

static void a_second_restore_drops_what_the_first_replaced(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    record(f, SNAPSHOT_BEFORE_RESTORE, "bbb");
    guest_writes(f, "third", "seed 3");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "ccc"), ERR_NONE);
    expect_copy(f, "bbb", "-");
    expect_copy(f, "ccc", "third");
    assert_int_equal(n_files(f), 4);
}

/* Of a file that somebody removed the present disk is no restored one. */
static void what_a_restore_replaced_is_not_restored_without_its_file(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", "bbb");
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    record(f, SNAPSHOT_BEFORE_RESTORE, "bbb");
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, SNAPSHOT_RESTORE, SNAPSHOT_BEFORE_RESTORE, "ccc"), ERR_OVERLAY);
        expect_disk(f, "first", "seed 1");
        expect_copy(f, "ccc", "-");
    }
}

/* A directory of its name stands for a file that cannot be removed. */
static void what_cannot_be_removed_makes_no_restore_fail_that_is_done(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", "bbb");
    cleanup_free char *within = mem_printf("%s/file", path);
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    record(f, SNAPSHOT_BEFORE_RESTORE, "bbb");
    guest_writes(f, "third", "seed 3");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
    put(within, "");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "ccc"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_copy(f, "ccc", "third");
}

/* It copies to beside the disk, where no snapshot is, and as much as the disk holds. */
static void a_restore_that_was_killed_leaves_no_copy_behind(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *copy = mem_printf("%s.tmp-killed", f->overlay);
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    put(copy, "half a copy");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    assert_false(fs_exists(copy));
    expect_disk(f, "first", "seed 1");
}

static void what_fails_leaves_what_was(void **state)
{
    struct fixture *f = *state;
    record(f, "lost", "zzz"); /* somebody removed its file */
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "lost", "bbb"), ERR_IO);
    expect_disk(f, "first", "seed 1");
    assert_int_equal(n_files(f), 0);
    assert_int_equal(unlink(f->overlay), 0);
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_IO);
    assert_int_equal(n_files(f), 0);
}

/* A disk that was lost can be restored, and nothing is kept of it. */
static void a_lost_disk_is_restored(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    assert_int_equal(unlink(f->overlay), 0);
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_copy(f, "bbb", "-");
}

static void holes_stay_holes_and_data_stays_where_it_was(void **state)
{
    struct fixture *f = *state;
    const char *make[] = {"sh", "-c",
        "rm \"$1\"; truncate -s 64M \"$1\"; printf x | dd of=\"$1\" bs=1 seek=20M conv=notrunc "
        "status=none; printf y | dd of=\"$1\" bs=1 seek=40M conv=notrunc status=none",
        "sh", f->overlay, NULL};
    assert_true(media_host_run(make));
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", "aaa");
    const char *compare[] = {"cmp", f->overlay, path, NULL};
    struct stat st;
    assert_true(media_host_run(compare));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 64 << 20);
    assert_true(st.st_blocks * 512 < 4 << 20);
}

/* ---- the firmware's variables and the TPM ---- */

static char *in_vm(struct fixture *f, const char *name)
{
    return mem_printf("%s/vms/web/%s", f->m.paths.data_dir, name);
}

static void put_tpm(struct fixture *f, const char *vars, const char *state)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *variables = in_vm(f, "uefi_vars.fd"), *tpm = in_vm(f, "tpm");
    cleanup_free char *file = in_vm(f, "tpm/tpm2-00.permall");
    assert_int_equal(fs_make_dirs(tpm, 0700, &err), 0);
    put(variables, vars);
    put(file, state);
}

static void expect_tpm(struct fixture *f, const char *vars, const char *state)
{
    cleanup_free char *variables = in_vm(f, "uefi_vars.fd");
    cleanup_free char *file = in_vm(f, "tpm/tpm2-00.permall");
    expect_content(variables, vars);
    expect_content(file, state);
}

/* The keys of the present disk are in the TPM that it has now. */
static void a_restore_that_fails_leaves_the_present_disk_its_tpm(void **state)
{
    struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    put_tpm(f, "vars 1", "tpm 1");
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    record(f, "one", "aaa");
    guest_writes(f, "second", "seed 2");
    put_tpm(f, "vars 2", "tpm 2");
    cleanup_free char *copy = in_vm(f, "snapshots/aaa.tpm");
    assert_int_equal(unlink(copy), 0);
    assert_int_equal(fs_make_dirs(copy, 0700, &err), 0);
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_IO);
    expect_disk(f, "second", "seed 2");
    expect_tpm(f, "vars 2", "tpm 2");
    expect_copy(f, "bbb", "-");
    assert_int_equal(rmdir(copy), 0);
    put(copy, "tpm 1");
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_tpm(f, "vars 1", "tpm 1");
}

/* Under root the directory of the TPM is another user's: what a link leads to is not to be copied
 * for him, and at a pipe the work would wait for ever. */
static void what_stands_for_the_state_of_a_tpm_is_not_followed(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *file = in_vm(f, "tpm/tpm2-00.permall");
    put_tpm(f, "vars 1", "tpm 1");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("/etc/passwd", file), 0);
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_IO);
    assert_int_equal(n_files(f), 0);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_IO);
    assert_int_equal(n_files(f), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- keeping what a recreation replaces ---- */

static void keep(struct fixture *f, const char *file)
{
    struct error err = {.code = ERR_NONE};
    struct vm_env env = {.host = &f->m.host, .name = "web", .status = f->status};
    assert_int_equal(snapshot_keep(&env, file, &err), 0);
}

/* The disk is renamed into the trash, and another takes its place. */
static void replace(struct fixture *f, const char *disk, const char *seed)
{
    assert_int_equal(unlink(f->overlay), 0);
    assert_int_equal(unlink(f->seed), 0);
    put(f->overlay, disk);
    put(f->seed, seed);
}

static void a_kept_disk_takes_no_copy_and_outlives_its_name(void **state)
{
    struct fixture *f = *state;
    struct stat kept, present;
    cleanup_free char *path = snapshot_path(&f->m.paths, "web", "kkk");
    keep(f, "kkk");
    assert_int_equal(stat(path, &kept), 0);
    assert_int_equal(stat(f->overlay, &present), 0);
    assert_int_equal(kept.st_ino, present.st_ino);
    keep(f, "kkk"); /* killed before the disk was discarded */
    replace(f, "new", "seed 2");
    keep(f, "kkk"); /* killed before it was recorded */
    expect_copy(f, "kkk", "first");
    expect_disk(f, "new", "seed 2");
    record(f, "recreated", "kkk");
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "recreated", "bbb"), ERR_NONE);
    expect_disk(f, "first", "seed 1");
    expect_copy(f, "bbb", "new");
    guest_writes(f, "later", "seed 3");
    expect_copy(f, "kkk", "first");
    assert_int_equal(run(f, SNAPSHOT_REMOVE, "recreated", "ccc"), ERR_NONE);
    expect_copy(f, "kkk", "-");
    expect_disk(f, "later", "seed 3");
}

/* Put there by a controller that was killed before it recorded that; and there may be none. */
static void the_disk_that_took_its_place_is_not_kept(void **state)
{
    struct fixture *f = *state;
    replace(f, "new", "seed 2");
    assert_true(file_stamp(f->overlay, f->status->replacement_stamp));
    keep(f, "kkk");
    expect_copy(f, "kkk", "-");
    assert_int_equal(unlink(f->overlay), 0);
    keep(f, "kkk");
    expect_copy(f, "kkk", "-");
}

/* ---- files that are not what was recorded ---- */

static void make_overlay(const char *path, const char *base, const char *size)
{
    cleanup_free char *command =
        mem_printf("qemu-img create -q -u -f qcow2 -F raw -b %s %s %s", base, path, size);
    assert_int_equal(system(command), 0);
}

static void expect_refusal(struct fixture *f, const char *what)
{
    cleanup_free char *before = content(f->overlay);
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "snapshot 'one' of vm 'web'"));
    assert_non_null(strstr(f->m.error.message, what));
    assert_non_null(strstr(error_help_text(&f->m.error), "vmctl snapshot rm web one"));
    expect_content(f->overlay, before);
    expect_copy(f, "bbb", "-");
}

static void a_file_that_was_cut_or_replaced_is_not_restored(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *file = snapshot_path(&f->m.paths, "web", "aaa");
    cleanup_free char *whole = mem_printf("%s.whole", f->overlay);
    f->status->prepared.disk_bytes = 1 << 20;
    f->status->prepared.image_path = mem_strdup("/image.raw");
    make_overlay(f->overlay, "/image.raw", "1M");
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    vm_status_add_snapshot(f->status, "one", "aaa", (uint64_t)fs_size(file), 1);
    put(f->overlay, "present");
    assert_int_equal(rename(file, whole), 0);
    put(file, "cut");
    expect_refusal(f, "cut off or replaced");
    f->status->snapshots[0].bytes = 1; /* not known */
    expect_refusal(f, "not a complete qcow2 file");
    make_overlay(file, "/image.raw", "512k");
    expect_refusal(f, "its disk is smaller");
    make_overlay(file, "/etc/shadow", "1M");
    expect_refusal(f, "it has another base image");
    assert_int_equal(rename(whole, file), 0);
    f->m.error = (struct error){.code = ERR_NONE};
    assert_int_equal(run(f, SNAPSHOT_RESTORE, "one", "bbb"), ERR_NONE);
    expect_copy(f, "bbb", "present");
}

/* ---- clones ---- */

static enum error_code clone(struct fixture *f, const char *file, bool is_taken)
{
    char vm[] = "web";
    struct vm_origin origin = {.vm = vm, .is_taken = is_taken, .snapshot.bytes = strlen("first")};
    (void)snprintf(origin.snapshot.file, sizeof(origin.snapshot.file), "%s", file);
    struct vm_spec *spec = vm_spec_new("copy");
    struct vm_env env = {.host = &f->m.host, .name = "copy", .spec = spec, .origin = &origin};
    struct vm_prepared made = {.disk_gib = 0};
    (void)snapshot_clone(&env, &made, media_host_done, &f->m);
    enum error_code code = media_host_wait(&f->m, 1);
    assert_true(made.digest[0] && made.seed_digest[0]);
    vm_spec_free(spec);
    return code;
}

static void a_clone_is_a_copy_that_needs_nothing_of_the_other(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *disk = paths_vm(&f->m.paths, "copy", VM_OVERLAY);
    assert_int_equal(clone(f, "aaa", false), ERR_SNAPSHOT_NOT_FOUND);
    assert_int_equal(run(f, SNAPSHOT_CREATE, "one", "aaa"), ERR_NONE);
    assert_int_equal(clone(f, "aaa", false), ERR_NONE);
    expect_content(disk, "first");
    put(disk, "later");
    expect_copy(f, "aaa", "first");
    assert_int_equal(clone(f, "aaa", false), ERR_NONE); /* killed before it was recorded */
    expect_content(disk, "first");
    cleanup_free char *file = snapshot_path(&f->m.paths, "web", "aaa");
    put(file, "fi");
    assert_int_equal(clone(f, "aaa", false), ERR_OVERLAY);
    assert_non_null(strstr(f->m.error.message, "cut off or replaced"));
}

static void what_was_made_for_a_clone_alone_becomes_its_disk(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    cleanup_free char *disk = paths_vm(&f->m.paths, "copy", VM_OVERLAY);
    cleanup_free char *made = snapshot_path(&f->m.paths, "web", "aaa");
    assert_int_equal(run(f, SNAPSHOT_CREATE, "~passing", "aaa"), ERR_NONE);
    assert_int_equal(stat(made, &before), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(clone(f, "aaa", true), ERR_NONE);
        assert_int_equal(stat(disk, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        expect_copy(f, "aaa", "-");
    }
    record(f, "~passing", "aaa");
    assert_int_equal(run(f, SNAPSHOT_REMOVE, "~passing", "bbb"), ERR_NONE); /* its time is over */
    assert_int_equal(n_files(f), 0);
    expect_content(disk, "first");
    put(disk, "of a VM whose record was lost");
    assert_int_equal(clone(f, "aaa", true), ERR_SNAPSHOT_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copy_shares_nothing_with_the_disk),
        TEST(done_twice_it_keeps_what_the_first_time_kept),
        TEST(interrupted_in_the_middle_it_keeps_the_present_disk),
        TEST(a_second_restore_drops_what_the_first_replaced),
        TEST(what_fails_leaves_what_was),
        TEST(a_lost_disk_is_restored),
        TEST(a_restore_that_fails_leaves_the_present_disk_its_tpm),
        TEST(what_stands_for_the_state_of_a_tpm_is_not_followed),
        TEST(what_a_restore_replaced_is_not_restored_without_its_file),
        TEST(what_cannot_be_removed_makes_no_restore_fail_that_is_done),
        TEST(a_restore_that_was_killed_leaves_no_copy_behind),
        TEST(holes_stay_holes_and_data_stays_where_it_was),
        TEST(a_kept_disk_takes_no_copy_and_outlives_its_name),
        TEST(the_disk_that_took_its_place_is_not_kept),
        TEST(a_file_that_was_cut_or_replaced_is_not_restored),
        TEST(a_clone_is_a_copy_that_needs_nothing_of_the_other),
        TEST(what_was_made_for_a_clone_alone_becomes_its_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
