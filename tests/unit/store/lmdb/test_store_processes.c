/* SPDX-License-Identifier: MPL-2.0 */
/* Many processes on one store: nothing is lost, nobody is blocked by the dead, the map grows. */
#include "tests/unit/store/store_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include "store/lmdb/lmdb_env.h"

static struct store *open_in_child(const struct fixture *f)
{
    struct store *store = NULL;
    struct error err = {0};
    if (store_open(&f->paths, &store, &err) < 0) {
        fprintf(stderr, "child: %s\n", err.message);
        _exit(1);
    }
    return store;
}

static int commit_in_child(struct store *store, struct store_batch *batch)
{
    struct error err = {0};
    int rc = store_commit(store, batch, &err);
    if (rc < 0 && rc != -ERR_STORE_STALE) {
        fprintf(stderr, "child: %s\n", err.message);
        _exit(1);
    }
    store_batch_free(batch);
    return rc;
}

/* ---- nothing is lost ---- */

enum { PROCESSES = 10, ROUNDS = 100 };

static void create_many(const struct fixture *f, int number)
{
    char name[32];
    for (int i = 0; i < ROUNDS; i++) {
        struct store *store = open_in_child(f); /* as a CLI does: opened for each command */
        struct store_batch *batch = store_batch_new();
        (void)snprintf(name, sizeof(name), "vm-%d-%d", number, i);
        struct vm_desired *desired = a_desired(name, 1);
        store_batch_put_desired(batch, desired, 0);
        child_must(commit_in_child(store, batch) == 0);
        vm_desired_free(desired);
        store_close(store);
    }
}

static void run_processes(
    const struct fixture *f, void (*body)(const struct fixture *f, int number))
{
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = start_child(body, f, i);
    }
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(wait_for_child(pids[i]), 0);
    }
}

static void ten_processes_that_create_vms_lose_none(void **state)
{
    struct fixture *f = *state;
    run_processes(f, create_many); /* the store does not exist yet: all of them make it */
    f->store = open_store(f);
    struct vm_list list;
    struct error err = {0};
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, PROCESSES * ROUNDS);
    for (size_t i = 0; i < list.count; i++) {
        assert_non_null(list.records[i].desired);
    }
    vm_list_clear(&list);
}

/* Read, change, write; again when somebody was faster. */
static void increment_once(struct store *store)
{
    int rc;
    do {
        struct vm_record record = {0};
        struct error err = {0};
        child_must(store_get(store, "shared", &record, &err) == 0);
        struct store_batch *batch = store_batch_new();
        record.desired->generation++;
        store_batch_put_desired(batch, record.desired, record.desired->revision);
        rc = commit_in_child(store, batch);
        vm_record_clear(&record);
    } while (rc == -ERR_STORE_STALE);
}

static void increment_many(const struct fixture *f, int number)
{
    (void)number;
    struct store *store = open_in_child(f);
    for (int i = 0; i < ROUNDS; i++) {
        increment_once(store);
    }
    store_close(store);
}

static void ten_processes_that_change_one_vm_lose_no_change(void **state)
{
    struct fixture *f = *state;
    struct store *store = open_store(f);
    assert_int_equal(create_vm(store, "shared", NULL), 0);
    store_close(store); /* an environment must not be open across fork() */
    run_processes(f, increment_many);
    f->store = open_store(f);
    struct vm_record record = get_vm(f->store, "shared");
    assert_int_equal(record.desired->generation, PROCESSES * ROUNDS);
    assert_int_equal(record.desired->revision, PROCESSES * ROUNDS + 1);
    vm_record_clear(&record);
}

/* ---- the map ---- */

enum { SMALL_MAP = 256 << 10 };

static void put_status_of_4k(struct store *store, int i)
{
    char name[32], message[4000];
    memset(message, 'm', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    (void)snprintf(name, sizeof(name), "vm-%d", i);
    struct vm_status *status = vm_status_new("u");
    struct store_batch *batch = store_batch_new();
    vm_status_set(status, CONDITION_READY, CONDITION_FALSE, REASON_STOPPED, message, 1);
    store_batch_put_status(batch, name, status);
    vm_status_free(status);
    assert_int_equal(commit(store, batch), 0);
}

static void a_full_map_grows_and_keeps_everything(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    must(store_open_sized(&f->paths, SMALL_MAP, &f->store, &err), &err);
    assert_int_equal(store_map_bytes(f->store), SMALL_MAP);
    for (int i = 0; i < 200; i++) {
        put_status_of_4k(f->store, i);
    }
    assert_true(store_map_bytes(f->store) >= 4 * SMALL_MAP);
    struct vm_list list;
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 200);
    vm_list_clear(&list);
}

static void fill_from_another_process(const struct fixture *f, int number)
{
    (void)number;
    struct store *store = NULL;
    struct error err = {0};
    child_must(store_open_sized(&f->paths, SMALL_MAP, &store, &err) == 0);
    for (int i = 0; i < 200; i++) {
        put_status_of_4k(store, i);
    }
    store_close(store);
}

/* The child must be forked before this process opens the store, and write after that. */
struct gate {
    int fds[2];
};

static void gate_open(struct gate *gate)
{
    assert_int_equal(pipe(gate->fds), 0);
}

static void gate_wait(const struct gate *gate)
{
    char byte;
    child_must(read(gate->fds[0], &byte, 1) == 1);
}

static void gate_pass(const struct gate *gate)
{
    assert_int_equal(write(gate->fds[1], "g", 1), 1);
}

static void gate_close(struct gate *gate)
{
    close(gate->fds[0]);
    close(gate->fds[1]);
}

static void a_map_grown_by_another_process_is_followed(void **state)
{
    struct fixture *f = *state;
    struct gate gate;
    struct error err = {0};
    gate_open(&gate);
    pid_t pid = fork();
    if (pid == 0) {
        gate_wait(&gate);
        fill_from_another_process(f, 0);
        _exit(0);
    }
    must(store_open_sized(&f->paths, SMALL_MAP, &f->store, &err), &err);
    gate_pass(&gate);
    assert_int_equal(wait_for_child(pid), 0);
    struct vm_list list;
    must(store_list(f->store, &list, &err), &err);
    assert_int_equal(list.count, 200);
    vm_list_clear(&list);
    assert_true(store_map_bytes(f->store) > SMALL_MAP);
    put_status_of_4k(f->store, 200);
    gate_close(&gate);
}

/* ---- the dead ---- */

static void die_while_reading(const struct fixture *f, int number)
{
    (void)number;
    struct store *store = open_in_child(f);
    struct lmdb_read read;
    struct error err = {0};
    child_must(lmdb_read_begin(store, &read, &err) == 0);
    (void)kill(getpid(), SIGKILL);
}

static void a_reader_killed_in_its_snapshot_does_not_fill_the_store(void **state)
{
    struct fixture *f = *state;
    struct gate gate;
    struct error err = {0};
    gate_open(&gate);
    pid_t pid = fork();
    if (pid == 0) {
        gate_wait(&gate);
        die_while_reading(f, 0);
        _exit(0);
    }
    must(store_open_sized(&f->paths, (size_t)1 << 20, &f->store, &err), &err);
    put_status_of_4k(f->store, 0);
    gate_pass(&gate);
    assert_true(WIFSIGNALED(wait_for_child(pid)));
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(put_status(f->store, "web", "u", (uint64_t)i), 0);
    }
    assert_int_equal(store_map_bytes(f->store), (size_t)1 << 20);
    gate_close(&gate);
}

static void write_for_ever(const struct fixture *f, int number)
{
    struct store *store = open_in_child(f);
    char name[32];
    for (uint64_t i = 1;; i++) {
        struct vm_status *status = vm_status_new("u");
        struct store_batch *batch = store_batch_new();
        status->observed_generation = status->applied_generation = i;
        (void)snprintf(name, sizeof(name), "vm-%d-%d", number, (int)(i % 50));
        store_batch_put_status(batch, name, status);
        store_batch_add_event(batch, name, false, REASON_READY, NULL, 1);
        (void)commit_in_child(store, batch);
        vm_status_free(status);
    }
}

/* Until the store has the VM: the writer is in its loop then. */
static void wait_for_writer(struct store *store, const char *name)
{
    for (int i = 0; i < 2000; i++) {
        struct vm_record record = get_vm(store, name);
        bool is_there = record.status;
        vm_record_clear(&record);
        if (is_there) {
            return;
        }
        (void)poll(NULL, 0, 5);
    }
    fail_msg("the writer never wrote");
}

static void a_writer_killed_at_any_point_leaves_whole_records_and_no_lock(void **state)
{
    struct fixture *f = *state;
    char name[32];
    for (int round = 0; round < 20; round++) {
        pid_t pid = start_child(write_for_ever, f, round);
        f->store = open_store(f);
        (void)snprintf(name, sizeof(name), "vm-%d-1", round);
        wait_for_writer(f->store, name);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(wait_for_child(pid)));
        struct vm_list list;
        struct error err = {0};
        must(store_list(f->store, &list, &err), &err);
        for (size_t i = 0; i < list.count; i++) {
            assert_non_null(list.records[i].status);
            assert_int_equal(list.records[i].status->observed_generation,
                list.records[i].status->applied_generation);
        }
        vm_list_clear(&list);
        assert_int_equal(put_status(f->store, "after", "u", 0), 0);
        store_close(f->store);
        f->store = open_store(f);
        store_close(f->store);
        f->store = NULL;
    }
}

static void a_store_that_could_not_be_reopened_is_opened_by_the_next_call(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(create_vm(f->store, "web", NULL), 0);
    lmdb_close(f->store); /* as after MDB_PANIC, when opening it again failed */
    struct vm_record record = get_vm(f->store, "web");
    assert_non_null(record.desired);
    vm_record_clear(&record);
    lmdb_close(f->store);
    assert_int_equal(create_vm(f->store, "db", NULL), 0);
}

/* ---- one pid in two pid namespaces, as in two containers that share a volume ---- */

enum { CANNOT_UNSHARE = 77 };

/* As pid 1 of a namespace: reads, says so on `out`, and stays until `in` is closed. */
static void read_as_pid_one(const struct fixture *f, int in, int out)
{
    struct vm_record record = {0};
    struct error err = {0};
    char byte;
    struct store *store = open_in_child(f);
    if (store_get(store, "web", &record, &err) < 0) {
        fprintf(stderr, "child: %s\n", err.message);
        _exit(1);
    }
    child_must(getpid() == 1 && record.desired);
    vm_record_clear(&record);
    child_must(write(out, "r", 1) == 1);
    child_must(read(in, &byte, 1) == 0);
    store_close(store);
}

static pid_t start_namespace(const struct fixture *f, const int *in, const int *out)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    close(in[1]);
    close(out[0]);
    if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0) {
        _exit(CANNOT_UNSHARE);
    }
    pid_t first = fork();
    if (first == 0) {
        read_as_pid_one(f, in[0], out[1]);
        _exit(0);
    }
    close(out[1]);
    int status = 1;
    _exit(first > 0 && waitpid(first, &status, 0) == first && status == 0 ? 0 : 1);
}

static void two_processes_with_the_same_pid_can_both_read(void **state)
{
    struct fixture *f = *state;
    int in[2], out[2], told = 0;
    struct store *store = open_store(f);
    assert_int_equal(create_vm(store, "web", NULL), 0);
    store_close(store);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t a = start_namespace(f, in, out), b = start_namespace(f, in, out);
    close(in[0]);
    close(out[1]);
    char byte;
    while (told < 2 && read(out[0], &byte, 1) == 1) {
        told++;
    }
    close(in[1]);
    close(out[0]);
    int status_a = wait_for_child(a), status_b = wait_for_child(b);
    if (WIFEXITED(status_a) && WEXITSTATUS(status_a) == CANNOT_UNSHARE) {
        skip();
    }
    assert_int_equal(status_a, 0);
    assert_int_equal(status_b, 0);
    assert_int_equal(told, 2);
}

/* ---- signals ---- */

static volatile sig_atomic_t seen_signals;

static void on_signal(int signo)
{
    (void)signo;
    seen_signals++;
}

struct signal_probe {
    int pending; /* while the write lock was held */
};

static int raise_inside(struct store *store, MDB_txn *txn, void *context)
{
    (void)store;
    (void)txn;
    struct signal_probe *probe = context;
    sigset_t pending;
    (void)raise(SIGTERM);
    (void)raise(SIGTSTP);
    (void)sigpending(&pending);
    probe->pending = sigismember(&pending, SIGTERM) + sigismember(&pending, SIGTSTP);
    return seen_signals; /* 0: commit */
}

static void a_signal_waits_until_the_write_lock_is_free(void **state)
{
    struct fixture *f = *state;
    struct signal_probe probe = {0};
    struct sigaction action = {.sa_handler = on_signal}, term, tstp;
    (void)sigaction(SIGTERM, &action, &term);
    (void)sigaction(SIGTSTP, &action, &tstp);
    int rc = lmdb_write(f->store, raise_inside, &probe);
    (void)sigaction(SIGTERM, &term, NULL);
    (void)sigaction(SIGTSTP, &tstp, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(probe.pending, 2);
    assert_int_equal(seen_signals, 2);
}

#define in_empty_dir(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
#define on_open_store(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, fixture_set_up_open, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_empty_dir(ten_processes_that_create_vms_lose_none),
        in_empty_dir(ten_processes_that_change_one_vm_lose_no_change),
        in_empty_dir(a_full_map_grows_and_keeps_everything),
        in_empty_dir(a_map_grown_by_another_process_is_followed),
        in_empty_dir(a_reader_killed_in_its_snapshot_does_not_fill_the_store),
        in_empty_dir(a_writer_killed_at_any_point_leaves_whole_records_and_no_lock),
        on_open_store(a_store_that_could_not_be_reopened_is_opened_by_the_next_call),
        in_empty_dir(two_processes_with_the_same_pid_can_both_read),
        on_open_store(a_signal_waits_until_the_write_lock_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
