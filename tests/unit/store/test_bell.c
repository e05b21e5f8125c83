/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/store/store_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "store/bell.h"

static struct bell_watch watch_bell(const struct fixture *f)
{
    struct bell_watch watch;
    struct error err = {0};
    must(bell_watch_open(&watch, &f->paths, BELL_STATUS, &err), &err);
    return watch;
}

static void ring(const struct fixture *f)
{
    struct error err = {0};
    must(bell_ring(&f->paths, BELL_STATUS, &err), &err);
}

static bool is_readable(const struct bell_watch *watch, int timeout_ms)
{
    struct pollfd poller = {.fd = watch->fd, .events = POLLIN};
    return poll(&poller, 1, timeout_ms) == 1;
}

static void a_ring_is_heard_once(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    assert_false(bell_watch_drain(&watch));
    ring(f);
    ring(f);
    assert_true(is_readable(&watch, 0));
    assert_true(bell_watch_drain(&watch));
    assert_false(is_readable(&watch, 0));
    assert_false(bell_watch_drain(&watch));
    bell_watch_close(&watch);
}

static void the_other_bell_is_not_heard(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    struct error err = {0};
    must(bell_ring(&f->paths, BELL_DESIRED, &err), &err);
    assert_false(is_readable(&watch, 0));
    bell_watch_close(&watch);
}

static void the_bell_is_private_and_its_descriptor_close_on_exec(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    char *path = paths_path(&f->paths, "status.kick");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 0);
    assert_true(fcntl(watch.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(watch.fd, F_GETFL) & O_NONBLOCK);
    bell_watch_close(&watch);
    assert_int_equal(watch.fd, -1);
    bell_watch_close(&watch);
    free(path);
}

/* After any replacement of the file: one wake-up, and then rings are heard again. */
static void expect_recovery(const struct fixture *f, struct bell_watch *watch)
{
    assert_true(is_readable(watch, 0));
    assert_true(bell_watch_drain(watch));
    (void)bell_watch_drain(watch);
    ring(f);
    assert_true(is_readable(watch, 0));
    assert_true(bell_watch_drain(watch));
}

static void a_removed_bell_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    char *path = paths_path(&f->paths, "status.kick");
    assert_int_equal(unlink(path), 0);
    expect_recovery(f, &watch);
    bell_watch_close(&watch);
    free(path);
}

static void a_bell_moved_away_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    char *path = paths_path(&f->paths, "status.kick");
    char *other = paths_path(&f->paths, "elsewhere");
    assert_int_equal(rename(path, other), 0);
    expect_recovery(f, &watch);
    bell_watch_close(&watch);
    free(path);
    free(other);
}

static void a_bell_replaced_by_another_file_is_watched_again(void **state)
{
    struct fixture *f = *state;
    struct bell_watch watch = watch_bell(f);
    struct error err = {0};
    char *path = paths_path(&f->paths, "status.kick");
    must(fs_write_file(path, "", 0, 0600, &err), &err);
    expect_recovery(f, &watch);
    bell_watch_close(&watch);
    free(path);
}

/* ---- between two processes ---- */

enum { ROUNDS = 2000, DEADLINE_MS = 10000 };

/* Commits round 1, 2, … and rings; each time waits for the reader's word. */
static void commit_and_ring(const struct fixture *f, int in, int out)
{
    struct store *store = NULL;
    struct error err = {0};
    char byte;
    child_must(store_open(&f->paths, &store, &err) == 0);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        struct vm_status *status = vm_status_new("u");
        struct store_batch *batch = store_batch_new();
        child_must(read(in, &byte, 1) == 1);
        status->observed_generation = i;
        store_batch_put_status(batch, "web", status);
        child_must(store_commit(store, batch, &err) == 0);
        child_must(bell_ring(&f->paths, BELL_STATUS, &err) == 0);
        store_batch_free(batch);
        vm_status_free(status);
    }
    child_must(read(in, &byte, 1) == 0); /* the reader has hung up */
    store_close(store);
    close(out);
}

static uint64_t read_round(struct store *store)
{
    struct vm_record record = get_vm(store, "web");
    uint64_t round = record.status ? record.status->observed_generation : 0;
    vm_record_clear(&record);
    return round;
}

static void no_wake_up_is_lost_in_two_thousand_commits(void **state)
{
    struct fixture *f = *state;
    int go[2], unused[2];
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(unused), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        commit_and_ring(f, go[0], unused[1]);
        _exit(0);
    }
    close(go[0]);
    f->store = open_store(f);
    struct bell_watch watch = watch_bell(f);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        assert_int_equal(write(go[1], "g", 1), 1);
        if (!is_readable(&watch, DEADLINE_MS)) {
            fail_msg("round %d: not woken", (int)i);
        }
        assert_true(bell_watch_drain(&watch));
        assert_int_equal(read_round(f->store), i); /* the wake-up comes after the truth */
    }
    close(go[1]);
    close(unused[0]);
    close(unused[1]);
    assert_int_equal(wait_for_child(pid), 0);
    bell_watch_close(&watch);
}

#define in_empty_dir(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_empty_dir(a_ring_is_heard_once),
        in_empty_dir(the_other_bell_is_not_heard),
        in_empty_dir(the_bell_is_private_and_its_descriptor_close_on_exec),
        in_empty_dir(a_removed_bell_is_made_again),
        in_empty_dir(a_bell_moved_away_is_made_again),
        in_empty_dir(a_bell_replaced_by_another_file_is_watched_again),
        in_empty_dir(no_wake_up_is_lost_in_two_thousand_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
