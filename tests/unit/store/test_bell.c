/* SPDX-License-Identifier: MPL-2.0 */
#include "tests/unit/store/store_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "store/bell.h"

static const enum bell bells[] = {BELL_DESIRED, BELL_STATUS, BELL_FLEET};
static const char *const names[] = {
    [BELL_DESIRED] = "desired.kick", [BELL_STATUS] = "status.bell", [BELL_FLEET] = "fleet.bell"};

static struct bell_watch watch_bell(const struct fixture *f, enum bell bell)
{
    struct bell_watch watch;
    struct error err = {0};
    must(bell_watch_open(&watch, &f->paths, bell, &err), &err);
    return watch;
}

static void ring(const struct fixture *f, enum bell bell)
{
    struct error err = {0};
    must(bell_ring(&f->paths, bell, &err), &err);
}

static bool is_readable(const struct bell_watch *watch, int timeout_ms)
{
    struct pollfd poller = {.fd = watch->fd, .events = POLLIN};
    return poll(&poller, 1, timeout_ms) == 1;
}

static void a_ring_is_heard_once_by_each_and_only_of_its_own_bell(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bells); i++) {
        struct bell_watch watches[] = {watch_bell(f, bells[i]), watch_bell(f, bells[i])};
        struct bell_watch other = watch_bell(f, bells[(i + 1) % ARRAY_LEN(bells)]);
        assert_false(bell_watch_drain(&watches[0]));
        ring(f, bells[i]);
        ring(f, bells[i]);
        for (size_t k = 0; k < ARRAY_LEN(watches); k++) {
            assert_true(is_readable(&watches[k], 0));
            assert_true(bell_watch_drain(&watches[k]));
            assert_false(is_readable(&watches[k], 0));
            assert_false(bell_watch_drain(&watches[k]));
            ring(f, bells[i]);
            assert_true(is_readable(&watches[k], 0));
            bell_watch_close(&watches[k]);
        }
        assert_false(is_readable(&other, 0));
        bell_watch_close(&other);
    }
}

static void what_was_rung_before_is_not_heard(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bells); i++) {
        struct bell_watch earlier = watch_bell(f, bells[i]);
        ring(f, bells[i]);
        struct bell_watch watch = watch_bell(f, bells[i]);
        assert_false(is_readable(&watch, 0));
        assert_true(is_readable(&earlier, 0));
        bell_watch_close(&earlier);
        bell_watch_close(&watch);
    }
}

static void the_bell_is_private_and_its_descriptor_close_on_exec(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bells); i++) {
        struct bell_watch watch = watch_bell(f, bells[i]);
        char *path = paths_path(&f->paths, names[bells[i]]);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(S_ISFIFO(st.st_mode), bells[i] != BELL_DESIRED);
        assert_int_equal(st.st_size, 0);
        assert_true(fcntl(watch.fd, F_GETFD) & FD_CLOEXEC);
        if (bells[i] != BELL_DESIRED) {
            assert_true(fcntl(watch.armed, F_GETFD) & FD_CLOEXEC);
        } else {
            assert_true(fcntl(watch.fd, F_GETFL) & O_NONBLOCK);
        }
        bell_watch_close(&watch);
        assert_int_equal(watch.fd, -1);
        bell_watch_close(&watch);
        free(path);
    }
}

/* After any replacement of the file: one wake-up, of a FIFO at the next drain, and then rings are
 * heard again. */
static void expect_recovery(const struct fixture *f, struct bell_watch *watch)
{
    enum bell bell = watch->bell;
    assert_true(bell != BELL_DESIRED || is_readable(watch, 0));
    assert_true(bell_watch_drain(watch));
    (void)bell_watch_drain(watch);
    assert_false(is_readable(watch, 0));
    ring(f, bell);
    assert_true(is_readable(watch, 0));
    assert_true(bell_watch_drain(watch));
    assert_false(bell_watch_drain(watch));
}

static void replace_by_file(const char *path)
{
    struct error err = {0};
    must(fs_write_file(path, "", 0, 0600, &err), &err);
}

static void move_away(const char *path)
{
    char *other = mem_printf("%s.elsewhere", path);
    assert_int_equal(rename(path, other), 0);
    free(other);
}

static void remove_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void a_bell_removed_moved_or_replaced_is_watched_again(void **state)
{
    static void (*const losses[])(const char *) = {remove_it, move_away, replace_by_file};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bells); i++) {
        for (size_t k = 0; k < ARRAY_LEN(losses); k++) {
            struct bell_watch watch = watch_bell(f, bells[i]);
            char *path = paths_path(&f->paths, names[bells[i]]);
            losses[k](path);
            expect_recovery(f, &watch);
            losses[k](path);
            ring(f, bells[i]); /* which made it again first */
            expect_recovery(f, &watch);
            bell_watch_close(&watch);
            free(path);
        }
    }
}

static void what_cannot_be_a_bell_is_an_error(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bells); i++) {
        char *path = paths_path(&f->paths, names[bells[i]]);
        struct bell_watch watch;
        struct error err = {0};
        assert_int_equal(symlink("/dev/null", path), 0);
        assert_int_equal(bell_ring(&f->paths, bells[i], &err), -ERR_IO);
        error_clear(&err);
        assert_int_equal(bell_watch_open(&watch, &f->paths, bells[i], &err), -ERR_IO);
        error_clear(&err);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(bell_ring(&f->paths, bells[i], &err), -ERR_IO);
        assert_int_equal(rmdir(path), 0);
        free(path);
    }
}

/* ---- between processes ---- */

enum { ROUNDS = 2000, DEADLINE_MS = 60000 };

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
    struct bell_watch watch = watch_bell(f, BELL_STATUS);
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

/* Adds one and rings, many times. */
static void count_and_ring(const struct fixture *f, atomic_uint *counter)
{
    struct error err = {0};
    for (int i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(counter, 1);
        child_must(bell_ring(&f->paths, BELL_STATUS, &err) == 0);
    }
}

/* In a FIFO of one page, which is full again and again. */
static void listen_until(const struct fixture *f, atomic_uint *counter, unsigned last, int ready)
{
    struct bell_watch watch;
    struct error err = {0};
    child_must(bell_watch_open(&watch, &f->paths, BELL_STATUS, &err) == 0);
    (void)fcntl(watch.armed, F_SETPIPE_SZ, 4096);
    child_must(write(ready, "r", 1) == 1);
    while (atomic_load(counter) < last) {
        child_must(is_readable(&watch, DEADLINE_MS));
        (void)bell_watch_drain(&watch);
    }
    bell_watch_close(&watch);
}

static void each_of_several_hears_the_last_of_several(void **state)
{
    enum { RINGERS = 3, LISTENERS = 4, CHILDREN = RINGERS + LISTENERS };
    struct fixture *f = *state;
    char byte;
    int ready[2];
    pid_t pids[CHILDREN];
    atomic_uint *counter =
        mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(counter, MAP_FAILED);
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            if (i < LISTENERS) {
                listen_until(f, counter, RINGERS * ROUNDS, ready[1]);
            } else {
                count_and_ring(f, counter);
            }
            _exit(0);
        }
        if (i < LISTENERS) {
            assert_int_equal(read(ready[0], &byte, 1), 1);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(wait_for_child(pids[i]), 0);
    }
    close(ready[0]);
    close(ready[1]);
    (void)munmap(counter, sizeof(*counter));
}

#define in_empty_dir(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_empty_dir(a_ring_is_heard_once_by_each_and_only_of_its_own_bell),
        in_empty_dir(what_was_rung_before_is_not_heard),
        in_empty_dir(the_bell_is_private_and_its_descriptor_close_on_exec),
        in_empty_dir(a_bell_removed_moved_or_replaced_is_watched_again),
        in_empty_dir(what_cannot_be_a_bell_is_an_error),
        in_empty_dir(no_wake_up_is_lost_in_two_thousand_commits),
        in_empty_dir(each_of_several_hears_the_last_of_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
