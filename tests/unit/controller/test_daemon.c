/* SPDX-License-Identifier: MPL-2.0 */
/* vmctld as a process, with a reconciler that only says it has looked: this program runs itself
 * again with the data directory as its argument. */
#include "controller/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "controller/controller.h"
#include "reconcilers/vm/vm_patch.h"
#include "specs/base/cleanup.h"
#include "specs/base/lockfile.h"
#include "specs/base/log.h"
#include "specs/base/paths.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/store.h"
#include "tests/unit/controller/test_support.h"

/* ---- the daemon's side ---- */

struct looker {
    struct reconciler reconciler; /* first */
    struct reconciler_host *host;
};

static struct verdict look_at(void *context, const struct vm_view *view, struct vm_patch *patch)
{
    const struct looker *looker = context;
    if (view->desired) {
        patch->status->observed_generation = view->desired->generation;
        vm_status_set(patch->status, CONDITION_READY, CONDITION_TRUE, REASON_READY, NULL,
            clock_wall_ms(looker->host->clock));
    }
    return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
}

static struct verdict look(struct reconciler *self, const char *name, struct patch *patch)
{
    struct looker *looker = (struct looker *)(void *)self;
    cleanup_with(vm_record_clear) struct vm_record known = {.name = NULL};
    return vm_patch_make(looker->host, name, &known, look_at, looker, &patch->batch);
}

/* Leaves a mark, so that a clean end can be told from a sudden one. */
static void let_go(struct reconciler *self)
{
    struct looker *looker = (struct looker *)(void *)self;
    cleanup_free char *path = paths_path(looker->host->paths, "let-go");
    struct error err = {0};
    (void)fs_write_file(path, "", 0, 0600, &err);
    free(looker);
}

/* Beside the data directory, which is gone then. */
static void end_machines(struct reconciler *self)
{
    struct looker *looker = (struct looker *)(void *)self;
    cleanup_free char *path = mem_printf("%s.ended", looker->host->paths->data_dir);
    struct error err = {0};
    (void)fs_write_file(path, "", 0, 0600, &err);
}

static void add_looker(struct controller *controller)
{
    struct looker *looker = mem_new(struct looker);
    looker->host = controller_host(controller);
    looker->reconciler =
        (struct reconciler){.reconcile = look, .end_machines = end_machines, .free = let_go};
    controller_add(controller, &looker->reconciler);
}

static int run_daemon(const char *data_dir)
{
    struct error err = {0};
    log_init(LOG_ERROR);
    int rc = daemon_run(&(struct daemon_options){.data_dir = data_dir}, add_looker, &err);
    if (rc < 0) {
        log_debug("controller", "%s", err.message);
    }
    return rc < 0 ? err.code : 0;
}

/* ---- the tests' side ---- */

struct fixture {
    char *dir;
    struct paths paths;
    pid_t pid;
    uint64_t generation; /* of VM "a": each start waits for a new one to be answered */
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    *state = f;
    return make_scratch_dir((void **)&f->dir) || paths_init(&f->paths, f->dir, &err);
}

static int wait_for_exit(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->pid > 0) {
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
    }
    paths_clear(&f->paths);
    int rc = remove_scratch_dir((void **)&f->dir);
    free(f);
    return rc;
}

static pid_t spawn_daemon(const struct fixture *f)
{
    char name[] = "vmctld";
    char *arguments[] = {name, f->dir, NULL};
    pid_t pid = 0;
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    return pid;
}

static bool is_held(const struct fixture *f)
{
    cleanup_free char *path = paths_path(&f->paths, "controller.lock");
    return lockfile_is_held(path);
}

static bool was_let_go(const struct fixture *f)
{
    cleanup_free char *path = paths_path(&f->paths, "let-go");
    return fs_exists(path);
}

static struct store *open_store(const struct fixture *f)
{
    struct store *store = NULL;
    struct error err = {0};
    if (store_open(&f->paths, &store, &err) < 0) {
        fail_msg("%s", err.message);
    }
    return store;
}

/* Waits for status.bell until the status of `name` has seen `generation`. */
static void wait_for_generation(
    struct store *store, struct bell_watch *bell, const char *name, uint64_t generation)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + TEST_DEADLINE_MS;
    for (;;) {
        cleanup_with(vm_record_clear) struct vm_record record = {0};
        struct error err = {0};
        bell_watch_drain(bell);
        assert_int_equal(store_get(store, name, &record, &err), 0);
        if (record.status && record.status->observed_generation >= generation) {
            return;
        }
        int64_t left_ms = deadline_ms - clock_monotonic_ms(clock_system());
        struct pollfd pollfd = {.fd = bell->fd, .events = POLLIN};
        assert_true(left_ms > 0 && poll(&pollfd, 1, (int)left_ms) > 0);
    }
}

static void put_vm(struct fixture *f, struct store *store, const char *name, uint64_t generation)
{
    struct error err = {0};
    cleanup_with(vm_record_clear) struct vm_record record = {0};
    assert_int_equal(store_get(store, name, &record, &err), 0);
    if (!record.desired) {
        record.desired = vm_desired_new(vm_spec_new(name), 1);
    }
    record.desired->generation = generation;
    struct store_batch *batch = store_batch_new();
    store_batch_put_desired(batch, record.desired, record.desired->revision);
    assert_int_equal(store_commit(store, batch, &err), 0);
    store_batch_free(batch);
    assert_int_equal(bell_ring(&f->paths, BELL_DESIRED, &err), 0);
}

/* Starts one and waits until it has answered for a VM. */
static void start_serving(struct fixture *f, struct store *store, struct bell_watch *bell)
{
    f->pid = spawn_daemon(f);
    put_vm(f, store, "a", ++f->generation);
    wait_for_generation(store, bell, "a", f->generation);
}

struct session {
    struct store *store;
    struct bell_watch bell;
};

static struct session open_session(struct fixture *f)
{
    struct session session = {.store = open_store(f)};
    struct error err = {0};
    assert_int_equal(bell_watch_open(&session.bell, &f->paths, BELL_STATUS, &err), 0);
    return session;
}

static void close_session(struct session *session)
{
    bell_watch_close(&session->bell);
    store_close(session->store);
}

static int end_daemon(struct fixture *f, int signal)
{
    pid_t pid = f->pid;
    f->pid = 0;
    kill(pid, signal);
    return wait_for_exit(pid);
}

static void a_change_stage_for_is_answered_in_the_status(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    int64_t before_ms = clock_monotonic_ms(clock_system());
    for (uint64_t generation = 2; generation <= 50; generation++) {
        put_vm(f, session.store, "a", generation);
        wait_for_generation(session.store, &session.bell, "a", generation);
    }
    int64_t took_ms = clock_monotonic_ms(clock_system()) - before_ms;
    print_message("from a write to its answer: %.2f ms\n", (double)took_ms / 49.);
    assert_true(is_held(f));
    close_session(&session);
}

static void sigterm_and_sigint_end_it_cleanly(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct session session = open_session(f);
        start_serving(f, session.store, &session.bell);
        assert_int_equal(end_daemon(f, signals[i]), 0);
        assert_false(is_held(f));
        assert_true(was_let_go(f));
        close_session(&session);
    }
}

static void a_second_one_leaves_at_once_and_the_first_goes_on(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    assert_int_equal(wait_for_exit(spawn_daemon(f)), 0);
    assert_true(is_held(f));
    put_vm(f, session.store, "a", 2);
    wait_for_generation(session.store, &session.bell, "a", 2);
    close_session(&session);
}

static void after_a_kill_the_next_one_takes_over_what_was_missed(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    kill(f->pid, SIGKILL);
    waitpid(f->pid, NULL, 0);
    assert_false(is_held(f));
    put_vm(f, session.store, "a", 2); /* while nobody listens */
    f->pid = spawn_daemon(f);
    wait_for_generation(session.store, &session.bell, "a", 2);
    assert_int_equal(end_daemon(f, SIGTERM), 0);
    close_session(&session);
}

static void a_hang_up_does_not_end_it(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    kill(f->pid, SIGHUP);
    put_vm(f, session.store, "a", 2);
    wait_for_generation(session.store, &session.bell, "a", 2);
    assert_int_equal(end_daemon(f, SIGTERM), 0);
    close_session(&session);
}

static void an_unusable_store_ends_it_with_an_error(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    cleanup_free char *dir = paths_path(&f->paths, "store");
    assert_int_equal(fs_write_file(dir, "not a directory", 15, 0600, &err), 0);
    int status = wait_for_exit(spawn_daemon(f));
    assert_int_not_equal(status, 0);
    assert_false(is_held(f));
}

static void a_service_manager_is_told_when_it_is_ready(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", f->dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    f->pid = spawn_daemon(f);
    unsetenv("NOTIFY_SOCKET");
    char message[64] = "";
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&pollfd, 1, TEST_DEADLINE_MS), 1);
    assert_true(recv(fd, message, sizeof(message) - 1, 0) > 0);
    assert_string_equal(message, "READY=1");
    assert_true(is_held(f));
    assert_int_equal(end_daemon(f, SIGTERM), 0);
    close(fd);
}

/* The soft limit on descriptors is raised, and what it makes is private. */
static void the_process_is_prepared(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    cleanup_free char *path = mem_printf("/proc/%d/limits", (int)f->pid);
    cleanup_buf struct buf limits = BUF_INIT(0);
    struct error err = {0};
    assert_int_equal(fs_read_file(path, &limits, &err), 0);
    char soft[32] = "", hard[32] = "";
    const char *line = strstr(buf_str(&limits), "Max open files");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "Max open files %31s %31s", soft, hard), 2);
    assert_string_equal(soft, hard);
    assert_int_equal(end_daemon(f, SIGTERM), 0);
    struct stat info;
    cleanup_free char *mark = paths_path(&f->paths, "let-go");
    assert_int_equal(stat(mark, &info), 0);
    assert_int_equal(info.st_mode & 077, 0);
    close_session(&session);
}

/* ---- the data directory goes ---- */

static void expect_its_end(struct fixture *f, int status)
{
    pid_t pid = f->pid;
    f->pid = 0;
    assert_int_equal(wait_for_exit(pid), status);
}

static bool has_ended_machines(const struct fixture *f)
{
    cleanup_free char *path = mem_printf("%s.ended", f->dir);
    return unlink(path) == 0;
}

static void it_ends_when_the_data_directory_is_deleted(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    close_session(&session);
    while (fs_remove_tree(f->dir, &err) < 0) { /* it still makes files in it */
        error_clear(&err);
    }
    expect_its_end(f, ERR_STORE);
    assert_true(has_ended_machines(f)); /* their disks are gone */
}

/* Not taken for a table that somebody removed, which leaves the machines alone. */
static void a_deletion_may_begin_with_the_lock_table(void **state)
{
    enum { LONGER_THAN_TO_NOTICE_MS = 300 };
    struct fixture *f = *state;
    struct error err = {0};
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    close_session(&session);
    cleanup_free char *table = paths_path(&f->paths, "store/lock.mdb");
    assert_int_equal(unlink(table), 0);
    cleanup_close int pidfd = pidfd_open(f->pid, 0);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    assert_int_equal(poll(&end, 1, LONGER_THAN_TO_NOTICE_MS), 0);
    while (fs_remove_tree(f->dir, &err) < 0) {
        error_clear(&err);
    }
    expect_its_end(f, ERR_STORE);
    assert_true(has_ended_machines(f));
}

static void it_ends_when_the_data_directory_is_moved(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    close_session(&session);
    cleanup_free char *moved = mem_printf("%s.moved", f->dir);
    assert_int_equal(rename(f->dir, moved), 0);
    expect_its_end(f, ERR_STORE);
    assert_int_equal(rename(moved, f->dir), 0);
    assert_false(has_ended_machines(f));
}

static void it_ends_when_the_store_is_moved_aside(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    close_session(&session);
    cleanup_free char *store = paths_path(&f->paths, "store");
    cleanup_free char *moved = paths_path(&f->paths, "store.broken");
    assert_int_equal(rename(store, moved), 0);
    expect_its_end(f, ERR_STORE);
    assert_false(has_ended_machines(f));
}

/* With mutexes that another program has written to, a writer would wait for ever. */
static void it_ends_at_once_when_the_lock_table_is_written_to_or_removed(void **state)
{
    struct fixture *f = *state;
    cleanup_free char *table = paths_path(&f->paths, "store/lock.mdb");
    for (int i = 0; i < 2; i++) {
        struct session session = open_session(f);
        start_serving(f, session.store, &session.bell);
        close_session(&session);
        int fd = i == 0 ? open(table, O_WRONLY | O_CLOEXEC) : -1;
        if (i == 0) {
            assert_true(pwrite(fd, "garbage", 7, 128) == 7);
        } else {
            assert_int_equal(unlink(table), 0);
        }
        expect_its_end(f, error_exit_status(ERR_STORE));
        cleanup_close_(&fd);
    }
    struct session session = open_session(f); /* and the next one is as good as ever */
    start_serving(f, session.store, &session.bell);
    close_session(&session);
}

static bool is_held_again(const struct fixture *f)
{
    int64_t deadline_ms = clock_monotonic_ms(clock_system()) + TEST_DEADLINE_MS;
    while (!is_held(f) && clock_monotonic_ms(clock_system()) < deadline_ms) {
        (void)poll(NULL, 0, 1);
    }
    return is_held(f);
}

static void a_removed_lock_file_is_made_again_and_admits_no_second_one(void **state)
{
    struct fixture *f = *state;
    struct session session = open_session(f);
    start_serving(f, session.store, &session.bell);
    cleanup_free char *lock = paths_path(&f->paths, "controller.lock");
    assert_int_equal(unlink(lock), 0);
    assert_true(is_held_again(f));
    assert_int_equal(kill(f->pid, SIGSTOP), 0); /* so that it cannot make it again */
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(wait_for_exit(spawn_daemon(f)), 0); /* "another vmctld runs" */
    assert_int_equal(kill(f->pid, SIGCONT), 0);
    assert_true(is_held_again(f));
    put_vm(f, session.store, "a", ++f->generation);
    wait_for_generation(session.store, &session.bell, "a", f->generation);
    close_session(&session);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(a_change_stage_for_is_answered_in_the_status),
        WITH_DIR(sigterm_and_sigint_end_it_cleanly),
        WITH_DIR(a_second_one_leaves_at_once_and_the_first_goes_on),
        WITH_DIR(after_a_kill_the_next_one_takes_over_what_was_missed),
        WITH_DIR(a_hang_up_does_not_end_it),
        WITH_DIR(an_unusable_store_ends_it_with_an_error),
        WITH_DIR(a_service_manager_is_told_when_it_is_ready),
        WITH_DIR(the_process_is_prepared),
        WITH_DIR(it_ends_when_the_data_directory_is_deleted),
        WITH_DIR(a_deletion_may_begin_with_the_lock_table),
        WITH_DIR(it_ends_when_the_data_directory_is_moved),
        WITH_DIR(it_ends_when_the_store_is_moved_aside),
        WITH_DIR(it_ends_at_once_when_the_lock_table_is_written_to_or_removed),
        WITH_DIR(a_removed_lock_file_is_made_again_and_admits_no_second_one),
    };
    if (argc > 1) {
        return run_daemon(argv[1]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
