/* SPDX-License-Identifier: MPL-2.0 */
/* Snapshots of a disk that a real QEMU uses. What a guest makes of one:
 * tests/e2e/qemu_lifecycle.bats. */
#include "reconcilers/media/snapshot.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/pool.h"
#include "reconcilers/backend/qemu/agent_watch.h"
#include "tests/unit/reconcilers/backend/qemu/test_qemu_machine.h"

enum { WORKERS = 2 };

static const struct snapshot_order order = {
    .verb = SNAPSHOT_CREATE, .name = "clean", .token = "0123456789abcdef0123456789abcdef"};
static struct snapshot_made made;

/* As a guest would, by QEMU itself. */
static void write_to_disk(struct fixture *f, const char *io)
{
    cleanup_free char *request = mem_printf(
        "{\"execute\":\"human-monitor-command\",\"arguments\":"
        "{\"command-line\":\"qemu-io -d /machine/peripheral/disk/virtio-backend \\\"%s\\\"\"}}",
        io);
    cleanup_free char *answer = ask_user_socket(f, request);
    assert_null(strstr(answer, "onflict"));
}

static void start_with_pool(struct fixture *f)
{
    struct error err = {0};
    f->spec->network.mode = NETWORK_NONE;
    assert_int_equal(pool_new(f->host.loop, WORKERS, &f->host.pool, &err), 0);
    start_and_boot(f);
    write_to_disk(f, "write -P 0x11 1M 1M");
}

static int tear_down_with_pool(void **state)
{
    struct fixture *f = *state;
    struct pool *pool = f->host.pool;
    f->host.pool = NULL;
    (void)pool_free(pool);
    return tear_down(state);
}

static void carry_out(struct fixture *f, const struct snapshot_order *what)
{
    f->is_done = false;
    assert_non_null(ops()->snapshot(f->machine, &f->env, what, &made, on_done, f));
    assert_false(f->is_done);
    assert_true(run_until(f->host.loop, is_done, f, PATIENCE_MS));
}

static void copy(struct fixture *f)
{
    carry_out(f, &order);
}

/* Whether the snapshot has this byte at 1M; damage fails. */
static bool has_byte(struct fixture *f, const char *byte)
{
    cleanup_free char *path = snapshot_path(&f->paths, "web", order.token);
    cleanup_free char *check = mem_printf("qemu-img check -q '%s' </dev/null", path);
    cleanup_free char *read = mem_printf(
        "qemu-io -r -c 'read -P %s 1M 1M' '%s' 2>&1 </dev/null | grep -q verification", byte, path);
    assert_int_equal(system(check), 0);
    return system(read) != 0;
}

static bool is_alone(struct fixture *f)
{
    cleanup_free char *command = mem_printf(
        "[ \"$(ls '%s/vms/web/snapshots')\" = %s.qcow2 ]", f->paths.data_dir, order.token);
    return system(command) == 0;
}

static bool has_no_job(void *context)
{
    cleanup_free char *answer = ask_user_socket(context, "{\"execute\":\"query-jobs\"}");
    return !strstr(answer, "running");
}

static void it_is_the_disk_at_that_moment(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    copy(f);
    expect_ok(f);
    write_to_disk(f, "write -P 0x22 1M 1M");
    assert_true(has_byte(f, "0x11"));
    assert_true(is_alone(f));
    cleanup_free char *nodes = ask_user_socket(f, "{\"execute\":\"query-named-block-nodes\"}");
    assert_null(strstr(nodes, "vmctl-snapshot"));
}

/* Killed after the effect and before its record, it is not made again: the moment would be another.
 */
static void done_twice_it_is_the_first(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    copy(f);
    write_to_disk(f, "write -P 0x22 1M 1M");
    copy(f);
    expect_ok(f);
    assert_true(has_byte(f, "0x11"));
}

/* One that a controller began and did not see the end of. */
static void the_job_of_an_earlier_try_is_replaced(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    cleanup_free char *path = fs_join(f->dir, "other.qcow2");
    cleanup_free char *make = /* for QEMU, which is another user */
        mem_printf("qemu-img create -q -f qcow2 '%s' 64M </dev/null && chmod 666 '%s' && "
                   "chmod 711 '%s'",
            path, path, f->dir);
    assert_int_equal(system(make), 0);
    cleanup_free char *add =
        mem_printf("{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"qcow2\","
                   "\"node-name\":\"vmctl-snapshot\",\"file\":{\"driver\":\"file\","
                   "\"filename\":\"%s\"}}}",
            path);
    free(ask_user_socket(f, add));
    free(ask_user_socket(f, "{\"execute\":\"blockdev-backup\",\"arguments\":{\"job-id\":"
                            "\"vmctl-snapshot\",\"device\":\"disk0\",\"target\":\"vmctl-snapshot\","
                            "\"sync\":\"full\",\"speed\":65536,\"auto-dismiss\":false}}"));
    assert_false(has_no_job(f));
    copy(f);
    expect_ok(f);
    assert_true(has_byte(f, "0x11"));
    assert_true(has_no_job(f));
}

static void cancelled_it_leaves_nothing_and_can_be_done_again(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    op_cancel(ops()->snapshot(f->machine, &f->env, &order, &made, on_done, f));
    copy(f);
    expect_ok(f);
    assert_true(has_byte(f, "0x11"));
    assert_true(is_alone(f));
    assert_true(run_until(f->host.loop, has_no_job, f, PATIENCE_MS));
}

static void without_a_machine_that_answers_it_fails_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    cleanup_free char *path = snapshot_path(&f->paths, "web", order.token);
    ops()->command(f->machine, &f->env, MACHINE_KILL);
    assert_true(run_until(f->host.loop, is_dead, f, PATIENCE_MS));
    copy(f);
    assert_int_equal(f->err.code, ERR_QMP_CONNECT);
    assert_false(fs_exists(path));
}

/* ---- backups ---- */

static void back_up(struct fixture *f, const char *name, const char *since)
{
    static const char digits[] = "0123456789abcdef0123456789abcde";
    struct snapshot_order next = {.verb = SNAPSHOT_CREATE, .begins_bitmap = true};
    snprintf(next.name, sizeof(next.name), "%s", name);
    snprintf(next.since, sizeof(next.since), "%s", since);
    snprintf(next.token, sizeof(next.token), "%s%c", digits, name[1]);
    free(made.whole_because);
    made = (struct snapshot_made){.is_partial = false};
    carry_out(f, &next);
    expect_ok(f);
}

static char *path_of_backup(struct fixture *f, char which)
{
    cleanup_free char *file = mem_printf("0123456789abcdef0123456789abcde%c", which);
    return snapshot_path(&f->paths, "web", file);
}

/* The backups from `first` on, each on the one before, are the disk. */
static bool is_disk(struct fixture *f, const char *backups)
{
    cleanup_free char *below = path_of_backup(f, backups[0]), *disk = NULL;
    for (size_t i = 1; backups[i]; i++) {
        cleanup_free char *path = path_of_backup(f, backups[i]);
        cleanup_free char *rebase =
            mem_printf("qemu-img rebase -u -f qcow2 -F qcow2 -b '%s' '%s' </dev/null", below, path);
        assert_int_equal(system(rebase), 0);
        free(below);
        below = TAKE_PTR(path);
    }
    disk = paths_vm(&f->paths, "web", VM_OVERLAY);
    cleanup_free char *compare =
        mem_printf("qemu-img compare -U -q -f qcow2 -F qcow2 '%s' '%s' </dev/null", disk, below);
    return system(compare) == 0;
}

static void flush(struct fixture *f)
{
    write_to_disk(f, "flush");
}

static void a_backup_has_what_was_written_since_the_one_before(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    back_up(f, "~1", "");
    assert_false(made.is_partial);
    assert_null(made.whole_because);
    write_to_disk(f, "write -P 0x22 1M 64k");
    write_to_disk(f, "write -z 1088k 64k"); /* zeros over what is not */
    back_up(f, "~2", "~1");
    assert_true(made.is_partial);
    write_to_disk(f, "write -P 0x33 3M 100");
    back_up(f, "~3", "~2");
    assert_true(made.is_partial);
    flush(f);
    assert_true(is_disk(f, "123"));
    assert_false(is_disk(f, "12"));
    cleanup_free char *last = path_of_backup(f, '3');
    assert_true(fs_size(last) < 1 << 20);
}

/* One whose copy nobody kept: the next is on the one before it, which nothing has ended. */
static void a_backup_that_was_lost_costs_nothing(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    back_up(f, "~1", "");
    write_to_disk(f, "write -P 0x22 1M 64k");
    back_up(f, "~2", "~1");
    write_to_disk(f, "write -P 0x33 3M 64k");
    back_up(f, "~3", "~1");
    assert_true(made.is_partial);
    flush(f);
    assert_true(is_disk(f, "13"));
    back_up(f, "~4", "~2");
    assert_false(made.is_partial);
    assert_non_null(strstr(made.whole_because, "replaced"));
}

static void a_backup_done_twice_has_all_of_it(void **state)
{
    struct fixture *f = *state;
    start_with_pool(f);
    back_up(f, "~1", "");
    write_to_disk(f, "write -P 0x22 1M 64k");
    back_up(f, "~2", "~1");
    write_to_disk(f, "write -P 0x33 3M 64k");
    back_up(f, "~2", "~1");
    assert_true(made.is_partial);
    flush(f);
    assert_true(is_disk(f, "12"));
}

/* ---- with an agent in the guest ---- */

/* Stands for QEMU's port and the agent at its other end, which serves one client at a time. Writes
 * 'f' and 't' for what it is told, and '-' for the end of that conversation. Freezes when it may,
 * and does not answer as many thaws as `n_unanswered`. */
static _Noreturn void be_agent(int listener, int log, int may_freeze, int n_unanswered)
{
    char byte;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
        char line[512];
        size_t n = 0;
        bool is_told = false;
        while (read(fd, &byte, 1) == 1) {
            line[n++] = byte;
            line[n] = '\0';
            if (byte != '\n' && n < sizeof(line) - 1) {
                continue;
            }
            n = 0;
            const char *id = strstr(line, "\"id\":");
            bool is_thaw = strstr(line, "fsfreeze-thaw");
            bool is_freeze = strstr(line, "fsfreeze-freeze");
            (void)!write(log, is_thaw ? "t" : "f", is_thaw || is_freeze);
            is_told |= is_thaw || is_freeze;
            if (is_freeze) {
                (void)!read(may_freeze, &byte, 1);
            }
            if (!is_thaw || n_unanswered-- <= 0) {
                (void)dprintf(fd, id ? "\xff{\"return\":%ld}\n" : "{\"return\":1}\n",
                    id ? strtol(id + strlen("\"id\":"), NULL, 10) : 0);
            }
        }
        (void)!write(log, "-", is_told);
    }
    _exit(0);
}

struct frozen_guest {
    struct fixture *f;
    pid_t pid;
    int log[2], may_freeze[2];
    char heard[16];
    const char *awaited;
};

static bool has_heard(void *context)
{
    struct frozen_guest *guest = context;
    size_t n = strlen(guest->heard);
    ssize_t more = read(guest->log[0], guest->heard + n, sizeof(guest->heard) - 1 - n);
    guest->heard[n + (size_t)(more > 0 ? more : 0)] = '\0';
    return strcmp(guest->heard, guest->awaited) == 0;
}

static void await_heard(struct frozen_guest *guest, const char *what)
{
    guest->awaited = what;
    if (!run_until(guest->f->host.loop, has_heard, guest, PATIENCE_MS)) {
        fail_msg("%s, not %s", guest->heard, what);
    }
}

static bool has_agent(void *context)
{
    struct fixture *f = context;
    agent_watch_note(f->machine->agent, true);
    return agent_watch_version(f->machine->agent);
}

static void begin_guest(struct frozen_guest *guest, struct fixture *f, int n_unanswered)
{
    struct error err = {0};
    cleanup_free char *path = vm_path(f, VM_AGENT_SOCKET);
    int listener;
    *guest = (struct frozen_guest){.f = f};
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fs_listen_unix(path, &listener, &err), 0);
    assert_int_equal(fcntl(listener, F_SETFL, 0), 0);
    assert_int_equal(pipe2(guest->log, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(guest->may_freeze, O_CLOEXEC), 0);
    guest->pid = fork();
    assert_true(guest->pid >= 0);
    if (guest->pid == 0) {
        be_agent(listener, guest->log[1], guest->may_freeze[0], n_unanswered);
    }
    close(listener);
    assert_true(run_until(f->host.loop, has_agent, f, PATIENCE_MS));
    memcpy(f->status->frozen_instance_id, f->status->instance.instance_id, TEXT_ID_SIZE);
}

static void end_guest(struct frozen_guest *guest)
{
    assert_int_equal(kill(guest->pid, SIGKILL), 0);
    assert_int_equal(waitpid(guest->pid, NULL, 0), guest->pid);
    for (int i = 0; i < 2; i++) {
        close(guest->log[i]);
        close(guest->may_freeze[i]);
    }
}

static int hold_worker(void *context, const atomic_bool *is_cancelled, struct error *err)
{
    char byte;
    (void)is_cancelled;
    (void)err;
    (void)!read(*(int *)context, &byte, 1);
    return 0;
}

static void let_go(void *context, const struct error *err)
{
    (void)context;
    (void)err;
}

/* The copy takes until its end may be written: what it says to the agent meanwhile. */
static void copy_for_long(struct frozen_guest *guest, const char *said)
{
    struct fixture *f = guest->f;
    int held[2];
    assert_int_equal(pipe2(held, O_CLOEXEC), 0);
    f->is_done = false;
    assert_non_null(ops()->snapshot(f->machine, &f->env, &order, &made, on_done, f));
    await_heard(guest, "f");
    for (int i = 0; i < WORKERS; i++) {
        (void)pool_start_in(f->host.pool, POOL_BULK, hold_worker, NULL, &held[0], let_go, NULL);
    }
    assert_int_equal(write(guest->may_freeze[1], "x", 1), 1);
    await_heard(guest, said);
    assert_false(f->is_done);
    assert_int_equal(write(held[1], "xx", WORKERS), WORKERS);
    assert_true(run_until(f->host.loop, is_done, f, PATIENCE_MS));
    expect_ok(f);
    assert_true(made.is_frozen);
    assert_true(made.is_thawed);
    close(held[0]);
    close(held[1]);
}

static void the_port_is_free_once_the_guest_is_thawed(void **state)
{
    struct frozen_guest guest;
    start_with_pool(*state);
    begin_guest(&guest, *state, 0);
    copy_for_long(&guest, "ft-");
    end_guest(&guest);
}

static void a_thaw_that_is_not_answered_is_asked_for_again_while_it_copies(void **state)
{
    struct frozen_guest guest;
    start_with_pool(*state);
    begin_guest(&guest, *state, 1);
    copy_for_long(&guest, "ft-t-");
    end_guest(&guest);
}

#define TEST_OF_POOL(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_with_pool)

int main(void)
{
    if (!qemu_is_installed()) {
        fprintf(stderr, "qemu-system-x86_64 and qemu-img are needed: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST_OF_POOL(it_is_the_disk_at_that_moment),
        TEST_OF_POOL(done_twice_it_is_the_first),
        TEST_OF_POOL(the_job_of_an_earlier_try_is_replaced),
        TEST_OF_POOL(cancelled_it_leaves_nothing_and_can_be_done_again),
        TEST_OF_POOL(a_backup_has_what_was_written_since_the_one_before),
        TEST_OF_POOL(a_backup_that_was_lost_costs_nothing),
        TEST_OF_POOL(a_backup_done_twice_has_all_of_it),
        TEST_OF_POOL(the_port_is_free_once_the_guest_is_thawed),
        TEST_OF_POOL(a_thaw_that_is_not_answered_is_asked_for_again_while_it_copies),
        TEST_OF_POOL(without_a_machine_that_answers_it_fails_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
