/* SPDX-License-Identifier: MPL-2.0 */
#include "store/import/import.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "specs/image/image_inspect.h"
#include "reconcilers/media/media.h"
#include "specs/base/cleanup.h"
#include "specs/base/file_stamp.h"
#include "specs/vm/media_digest.h"
#include "store/import/import_disk.h"
#include "tests/unit/store/store_fixture.h"

/* ---- what the original left behind ---- */

static void run_tool(const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(wait_for_child(pid), 0);
}

static void write_text(const char *path, const char *text)
{
    struct error err = {0};
    must(fs_write_file(path, text, strlen(text), 0600, &err), &err);
}

static char *base_image(const struct fixture *f)
{
    struct error err = {0};
    cleanup_free char *dir = paths_path(&f->paths, "images");
    char *path = paths_path(&f->paths, "images/noble.img");
    must(fs_make_dirs(dir, 0700, &err), &err);
    if (!fs_exists(path)) {
        const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, "1G", NULL};
        run_tool(argv);
    }
    return path;
}

/* The directory of a VM as the original made it, with a real overlay of 2 GiB. */
static void make_files(const struct fixture *f, const char *dir)
{
    struct error err = {0};
    cleanup_free char *base = base_image(f);
    cleanup_free char *overlay = fs_join(dir, "overlay.qcow2");
    cleanup_free char *seed = fs_join(dir, "seed.iso");
    const char *argv[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay, "2G", NULL};
    must(fs_make_dirs(dir, 0700, &err), &err);
    run_tool(argv);
    write_text(seed, "seed");
}

static char *vm_dir(const struct fixture *f, const char *name)
{
    return paths_vm(&f->paths, name, VM_DIR);
}

/* vms.json with one VM as the book shows it, whose files are in `dir`. */
static struct import_list read_one(const struct fixture *f, const char *dir)
{
    struct error err = {0};
    struct import_list list = {.count = 0};
    cleanup_free char *path = paths_path(&f->paths, "vms.json");
    cleanup_free char *text = mem_printf(
        "{\"web\": {\"id\": \"abc123\", \"name\": \"web\","
        "\"backend\": \"qemu\", \"work_dir\": \"%s\", \"overlay_path\": \"%s/overlay.qcow2\","
        "\"seed_iso_path\": \"%s/seed.iso\", \"pid\": null, \"qmp_socket\": \"%s/qmp.sock\","
        "\"console_socket\": null, \"vnc_addr\": \"127.0.0.1:5900\", \"vcpus\": 2,"
        "\"memory_mb\": 2048, \"disk_gb\": 2, \"network\": {\"type\": \"User\"},"
        "\"ssh_host_port\": 10042, \"mac_addr\": \"52:54:00:ab:cd:ef\"}}",
        dir, dir, dir, dir);
    write_text(path, text);
    must(import_read(path, &list, &err), &err);
    assert_int_equal(list.count, 1);
    return list;
}

static int take_over(
    const struct fixture *f, const struct import_vm *vm, enum import_result *ret, struct error *err)
{
    const struct import_request request = {.vm = vm, .path = "/vms.json"};
    return import_take_over(f->store, &request, ret, err);
}

static void expect(const struct fixture *f, const struct import_vm *vm, enum import_result expected)
{
    struct error err = {0};
    enum import_result result = IMPORT_GONE;
    must(take_over(f, vm, &result, &err), &err);
    assert_int_equal(result, expected);
}

/* ---- reading ---- */

static void handles_are_read_with_the_defaults_of_the_original(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    struct import_list list = {.count = 0};
    cleanup_free char *path = paths_path(&f->paths, "vms.json");
    write_text(path,
        "{\"b\": {\"name\": \"b\", \"network\": {\"type\": \"Tap\", \"bridge\": \"br7\"}},"
        "\"a\": {\"network\": {\"type\": \"None\"}, \"mac_addr\": \"x,y\","
        "\"vcpus\": 4, \"pid\": 7, \"ssh_host_port\": 70000}}");
    must(import_read(path, &list, &err), &err);
    assert_int_equal(list.count, 2);
    const struct import_vm *a = &list.vms[0], *b = &list.vms[1];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->spec->vcpus, 4);
    assert_int_equal(a->spec->network.mode, NETWORK_NONE);
    assert_null(a->mac);
    assert_int_equal(a->pid, 7);
    assert_int_equal(a->ssh_port, 0);
    assert_string_equal(b->name, "b");
    assert_int_equal(b->spec->vcpus, 1);
    assert_int_equal(b->spec->memory_mib, 1024);
    assert_int_equal(b->spec->disk_gib, 0);
    assert_int_equal(b->spec->network.mode, NETWORK_TAP);
    assert_string_equal(b->spec->network.bridge, "br7");
    import_list_clear(&list);
}

static void what_cannot_be_taken_over_says_why_and_hides_no_other(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    struct import_list list = {.count = 0};
    cleanup_free char *path = paths_path(&f->paths, "vms.json");
    write_text(path,
        "{\"a\": {\"backend\": \"propolis\"}, \"b/../c\": {}, \"c\": {\"vcpus\": 99999},"
        "\"d\": {\"network\": {\"type\": \"Vnic\", \"name\": \"v0\"}}, \"e\": 1,"
        "\"f\": {}}");
    must(import_read(path, &list, &err), &err);
    assert_int_equal(list.count, 6);
    assert_int_equal(list.vms[0].problem.code, ERR_BACKEND_UNAVAILABLE);
    assert_string_equal(list.vms[0].problem.message, "vm 'a' is of backend 'propolis'");
    assert_string_equal(list.vms[1].problem.message, "'b/../c' cannot be a VM's name");
    assert_string_equal(list.vms[2].problem.message, "vm 'c': vcpus 99999 is out of range");
    assert_string_equal(list.vms[3].problem.message, "vm 'd' has a network of type 'Vnic'");
    assert_string_equal(list.vms[4].problem.message, "vm 'e' is not a JSON object");
    assert_int_equal(list.vms[5].problem.code, ERR_NONE);
    import_list_clear(&list);
}

static void a_file_that_is_something_else_is_refused(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    struct import_list list = {.count = 0};
    cleanup_free char *path = paths_path(&f->paths, "vms.json");
    assert_int_equal(import_read(path, &list, &err), -ERR_IO);
    write_text(path, "[]");
    error_clear(&err);
    assert_int_equal(import_read(path, &list, &err), -ERR_VMFILE_INVALID);
}

/* ---- taking over ---- */

static void a_vm_keeps_its_disk_seed_port_and_mac(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *base = base_image(f);
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    expect(f, &list.vms[0], IMPORT_DONE);
    struct vm_record record = get_vm(f->store, "web");
    const struct vm_spec *spec = record.desired->spec;
    const struct vm_prepared *prepared = &record.status->prepared;
    assert_int_equal(record.desired->power, POWER_STOPPED);
    assert_int_equal(record.desired->generation, 1);
    assert_null(record.desired->source);
    assert_int_equal(spec->image.kind, IMAGE_FILE);
    assert_string_equal(spec->image.location, base);
    assert_int_equal(spec->vcpus, 2);
    assert_int_equal(spec->memory_mib, 2048);
    assert_int_equal(spec->disk_gib, 2);
    assert_true(spec->cloud_init.is_set);
    assert_string_equal(record.status->uid, record.desired->uid);
    assert_string_equal(record.status->mac, "52:54:00:ab:cd:ef");
    assert_int_equal(record.status->ssh_port, 10042);
    assert_string_equal(prepared->image_path, base);
    assert_int_equal(prepared->disk_gib, 2);
    assert_true(vm_status_is_true(record.status, CONDITION_PREPARED));
    vm_record_clear(&record);
    import_list_clear(&list);
}

/* What the controller compares with: were it something else, it would ask for a new disk. */
static void the_digests_are_those_the_controller_makes(void **state)
{
    const struct fixture *f = *state;
    char expected[DIGEST_SIZE];
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    expect(f, &list.vms[0], IMPORT_DONE);
    struct vm_record record = get_vm(f->store, "web");
    spec_media_digest(record.desired->spec, expected);
    assert_string_equal(record.status->prepared.digest, expected);
    assert_true(file_stamp(record.desired->spec->image.location, expected));
    assert_string_equal(record.status->prepared.image_id, expected);
    vm_record_clear(&record);
    import_list_clear(&list);
}

static void doing_it_again_does_nothing(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    expect(f, &list.vms[0], IMPORT_DONE);
    struct vm_record before = get_vm(f->store, "web");
    expect(f, &list.vms[0], IMPORT_UNCHANGED);
    struct vm_record after = get_vm(f->store, "web");
    assert_string_equal(after.desired->uid, before.desired->uid);
    assert_int_equal(after.desired->revision, before.desired->revision);
    vm_record_clear(&before);
    vm_record_clear(&after);
    import_list_clear(&list);
}

static void one_destroyed_since_does_not_come_back(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    expect(f, &list.vms[0], IMPORT_DONE);
    struct vm_record record = get_vm(f->store, "web");
    struct store_batch *batch = store_batch_new();
    store_batch_forget_vm(batch, "web", record.desired->uid);
    assert_int_equal(commit(f->store, batch), 0);
    must(fs_remove_tree(dir, &err), &err);
    expect(f, &list.vms[0], IMPORT_GONE);
    vm_record_clear(&record);
    import_list_clear(&list);
}

static void another_vm_of_that_name_is_a_conflict(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    enum import_result result;
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    struct import_list list = read_one(f, dir);
    assert_int_equal(take_over(f, &list.vms[0], &result, &err), -ERR_VM_CONFLICT);
    assert_string_equal(err.message, "another vm 'web' exists already");
    import_list_clear(&list);
}

/* The port of the VM that make_files() makes. */
static void lease_port_to_another_vm(const struct fixture *f)
{
    char key[] = "tcp/10042", holder[] = "other", purpose[] = "ssh";
    struct lease lease = {.key = key, .vm_name = holder, .purpose = purpose};
    struct store_batch *batch = store_batch_new();
    assert_int_equal(create_vm(f->store, holder, lease.uid), 0);
    store_batch_take_lease(batch, &lease);
    assert_int_equal(commit(f->store, batch), 0);
}

static void a_port_that_another_vm_holds_is_not_taken(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    lease_port_to_another_vm(f);
    struct import_list list = read_one(f, dir);
    expect(f, &list.vms[0], IMPORT_DONE);
    struct vm_record record = get_vm(f->store, "web");
    assert_int_equal(record.status->ssh_port, 0);
    vm_record_clear(&record);
    import_list_clear(&list);
}

static void a_vmfile_s_spec_counts_and_its_image_need_not_be_the_file_below_the_disk(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    enum import_result result;
    char digest[DIGEST_SIZE];
    cleanup_free char *dir = vm_dir(f, "web");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    struct vm_spec *spec = vm_spec_new("web");
    spec->image.kind = IMAGE_URL;
    spec->image.location = mem_strdup("https://example.org/noble.img");
    spec->vcpus = 8;
    const struct import_request request = {
        .vm = &list.vms[0], .path = "/vms.json", .spec = spec, .source = "/p/VMFile.kdl"};
    must(import_take_over(f->store, &request, &result, &err), &err);
    struct vm_record record = get_vm(f->store, "web");
    assert_string_equal(record.desired->source, "/p/VMFile.kdl");
    assert_int_equal(record.desired->spec->vcpus, 8);
    spec_media_digest(spec, digest);
    assert_string_equal(record.status->prepared.digest, digest);
    assert_true(text_ends_with(record.status->prepared.image_path, "/images/noble.img"));
    vm_record_clear(&record);
    vm_spec_free(spec);
    import_list_clear(&list);
}

/* ---- files that are elsewhere, or not at all ---- */

static void check_brought(const struct fixture *f, const struct import_list *list, const char *from)
{
    cleanup_free char *overlay = paths_vm(&f->paths, "web", VM_OVERLAY);
    cleanup_free char *seed = paths_vm(&f->paths, "web", VM_SEED);
    expect(f, &list->vms[0], IMPORT_DONE);
    assert_true(fs_exists(overlay));
    assert_true(fs_exists(seed));
    assert_false(fs_exists(from));
}

static void files_of_another_data_directory_are_moved_here(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *elsewhere = paths_path(&f->paths, "old/vms/web");
    make_files(f, elsewhere);
    struct import_list list = read_one(f, elsewhere);
    check_brought(f, &list, elsewhere);
    import_list_clear(&list);
}

static void files_that_a_controller_moved_aside_are_fetched_back(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *older = paths_path(&f->paths, "quarantine/web-1700000000");
    cleanup_free char *newer = paths_path(&f->paths, "quarantine/web-1700000009");
    cleanup_free char *other = paths_path(&f->paths, "quarantine/web-2-1700000099");
    must(fs_make_dirs(older, 0700, &err), &err);
    make_files(f, newer);
    make_files(f, other);
    struct import_list list = read_one(f, dir);
    check_brought(f, &list, newer);
    assert_true(fs_exists(other));
    import_list_clear(&list);
}

static void a_disk_that_is_gone_or_has_lost_its_base_is_told(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    enum import_result result;
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *base = base_image(f);
    struct import_list list = read_one(f, dir);
    assert_int_equal(take_over(f, &list.vms[0], &result, &err), -ERR_IMAGE_NOT_FOUND);
    make_files(f, dir);
    must(fs_remove_file(base, &(struct error){0}), &err);
    error_clear(&err);
    assert_int_equal(take_over(f, &list.vms[0], &result, &err), -ERR_IMAGE_NOT_FOUND);
    assert_non_null(strstr(err.message, "its base image '"));
    struct vm_record record = get_vm(f->store, "web");
    assert_null(record.desired);
    vm_record_clear(&record);
    import_list_clear(&list);
}

static void the_base_of_a_disk_is_found_by_relative_and_absolute_names(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    struct import_disk disk = {.backing = NULL};
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *overlay = fs_join(dir, "overlay.qcow2");
    cleanup_free char *base = base_image(f);
    make_files(f, dir);
    const char *argv[] = {"qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
        "../../images/noble.img", overlay, NULL};
    run_tool(argv);
    must(import_disk_read(overlay, &disk, &err), &err);
    assert_string_equal(disk.backing, base);
    assert_int_equal(disk.virtual_size, (uint64_t)2 << 30);
    import_disk_clear(&disk);
    assert_int_equal(import_disk_read(base, &disk, &err), -ERR_IMAGE_FORMAT);
    error_clear(&err);
    write_text(overlay, "QFI\xfb");
    assert_int_equal(import_disk_read(overlay, &disk, &err), -ERR_IMAGE_FORMAT);
}

/* ---- running ---- */

static bool is_refused(const struct fixture *f, const struct import_vm *vm, struct error *err)
{
    enum import_result result;
    error_clear(err);
    return take_over(f, vm, &result, err) == -ERR_VM_INVALID_STATE;
}

/* As running, with the command that stops it; and nothing has changed. */
static void assert_is_refused(const struct fixture *f, const struct import_vm *vm)
{
    struct error err = {0};
    assert_true(is_refused(f, vm, &err));
    assert_string_equal(err.message, "vm 'web' is running");
    assert_non_null(strstr(error_help_text(&err), ": vmctl stop web"));
    struct vm_record record = get_vm(f->store, "web");
    assert_null(record.desired);
    assert_null(record.status);
    vm_record_clear(&record);
}

static void a_disk_that_qemu_has_open_is_left_alone(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *overlay = fs_join(dir, "overlay.qcow2");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    cleanup_close int fd = open(overlay, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_is_refused(f, &list.vms[0]);
    lock.l_type = F_UNLCK;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    expect(f, &list.vms[0], IMPORT_DONE);
    import_list_clear(&list);
}

/* Moved aside by a controller, its QEMU keeps it open all the same. */
static void a_running_vm_whose_files_are_elsewhere_is_not_moved(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *aside = paths_path(&f->paths, "quarantine/web-1700000000");
    cleanup_free char *overlay = fs_join(aside, "overlay.qcow2");
    make_files(f, aside);
    struct import_list list = read_one(f, dir);
    cleanup_close int fd = open(overlay, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_is_refused(f, &list.vms[0]);
    assert_true(fs_exists(overlay));
    assert_false(fs_exists(dir));
    import_list_clear(&list);
}

static bool has_text(const char *path, const char *text)
{
    cleanup_buf struct buf found = BUF_INIT(0);
    struct error ignored = {0};
    return fs_read_file(path, &found, &ignored) == 0 &&
           memmem(buf_str(&found), found.len, text, strlen(text));
}

/* A program that has the disk on its command line, as QEMU has. */
static pid_t start_with_disk(const char *overlay)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("tail", "tail", "-c", "0", "-f", overlay, (char *)NULL);
        _exit(127);
    }
    cleanup_free char *command_line = mem_printf("/proc/%d/cmdline", (int)pid);
    for (int i = 0; i < 10000 && !has_text(command_line, overlay); i++) {
        (void)poll(NULL, 0, 1);
    }
    assert_true(has_text(command_line, overlay));
    return pid;
}

static void a_process_counts_only_if_it_is_of_this_vm(void **state)
{
    const struct fixture *f = *state;
    cleanup_free char *dir = vm_dir(f, "web");
    cleanup_free char *overlay = fs_join(dir, "overlay.qcow2");
    make_files(f, dir);
    struct import_list list = read_one(f, dir);
    pid_t pid = start_with_disk(overlay);
    list.vms[0].pid = pid;
    assert_is_refused(f, &list.vms[0]);
    (void)kill(pid, SIGKILL);
    assert_true(WIFSIGNALED(wait_for_child(pid)));
    list.vms[0].pid = getpid(); /* alive, but not with this disk */
    expect(f, &list.vms[0], IMPORT_DONE);
    import_list_clear(&list);
}

#define store_test(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(handles_are_read_with_the_defaults_of_the_original),
        store_test(what_cannot_be_taken_over_says_why_and_hides_no_other),
        store_test(a_file_that_is_something_else_is_refused),
        store_test(a_vm_keeps_its_disk_seed_port_and_mac),
        store_test(the_digests_are_those_the_controller_makes),
        store_test(doing_it_again_does_nothing),
        store_test(one_destroyed_since_does_not_come_back),
        store_test(another_vm_of_that_name_is_a_conflict),
        store_test(a_port_that_another_vm_holds_is_not_taken),
        store_test(a_vmfile_s_spec_counts_and_its_image_need_not_be_the_file_below_the_disk),
        store_test(files_of_another_data_directory_are_moved_here),
        store_test(files_that_a_controller_moved_aside_are_fetched_back),
        store_test(a_disk_that_is_gone_or_has_lost_its_base_is_told),
        store_test(the_base_of_a_disk_is_found_by_relative_and_absolute_names),
        store_test(a_disk_that_qemu_has_open_is_left_alone),
        store_test(a_running_vm_whose_files_are_elsewhere_is_not_moved),
        store_test(a_process_counts_only_if_it_is_of_this_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
