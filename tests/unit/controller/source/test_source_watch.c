/* SPDX-License-Identifier: MPL-2.0 */
/* How files are really saved, with the real inotify, pool and loop: each way must be noticed. The
 * times of day are tests/sim/test_watch.c's. */
#include "controller/source/source_watch.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/controller.h"
#include "controller/loop/pool.h"
#include "specs/base/cleanup.h"
#include "specs/base/paths.h"
#include "store/batch.h"
#include "store/bell.h"
#include "store/source/sources.h"
#include "store/store.h"
#include "store/writer.h"
#include "tests/unit/controller/test_support.h"

struct fixture {
    char *dir;     /* holds all that follows */
    char *project; /* DIR/project */
    char *file;    /* DIR/project/VMFile.kdl */
    struct paths paths;
    struct store *store;
    struct loop *loop;
    struct pool *pool;
    struct store_writer *writer;
    struct controller *controller;
    bool is_woken;
    uint32_t memory_mib; /* what is waited for */
};

static void must(int rc, const struct error *err)
{
    if (rc < 0) {
        fail_msg("%s", err->message);
    }
}

/* The reconciler of VMs, and what reaches it: its wake() has no context of its own. */
static struct reconciler vms;
static struct fixture *woken;
static void (*wake_key)(struct reconciler_host *host, struct key key, enum work_priority priority);

static void on_wake(struct reconciler_host *host, struct key key, enum work_priority priority)
{
    if (key.kind == KEY_VM) {
        assert_string_equal(key.name, "web");
        woken->is_woken = true;
    }
    wake_key(host, key, priority);
}

static struct verdict do_nothing(struct reconciler *self, const char *name, struct patch *patch)
{
    (void)self;
    (void)name;
    (void)patch;
    return (struct verdict){.requeue_ms = VERDICT_WHEN_WOKEN};
}

static void free_nothing(struct reconciler *self)
{
    (void)self;
}

static void start_controller(struct fixture *f)
{
    struct error err = {0};
    f->controller = controller_new(&(struct controller_options){.loop = f->loop,
        .pool = f->pool,
        .paths = &f->paths,
        .store = f->store,
        .writer = f->writer});
    struct reconciler_host *host = controller_host(f->controller);
    woken = f;
    wake_key = host->wake;
    host->wake = on_wake;
    vms = (struct reconciler){.kind = KEY_VM, .reconcile = do_nothing, .free = free_nothing};
    controller_add(f->controller, &vms);
    controller_add(f->controller, source_watch_new(host));
    must(controller_start(f->controller, &err), &err);
}

/* Runs a shell script in the project directory; $1 is the memory to write. Spawned: between fork()
 * and exec a child of a program with threads may not allocate. */
static void sh(const struct fixture *f, const char *script, uint32_t memory_mib)
{
    int status = -1;
    pid_t pid;
    cleanup_free char *memory = mem_printf("%u", memory_mib);
    cleanup_free char *all =
        mem_printf("cd \"$2\"; export GIT_CONFIG_GLOBAL=/dev/null; %s", script);
    char *argv[] = {
        (char[]){"sh"}, (char[]){"-euc"}, all, (char[]){"sh"}, memory, f->project, NULL};
    assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    struct error err = {0};
    if (make_scratch_dir((void **)&f->dir) < 0) {
        return -1;
    }
    f->project = mem_printf("%s/project", f->dir);
    f->file = mem_printf("%s/VMFile.kdl", f->project);
    f->paths.data_dir = mem_printf("%s/data", f->dir);
    must(fs_make_dirs(f->project, 0700, &err), &err);
    must(fs_make_dirs(f->paths.data_dir, 0700, &err), &err);
    must(store_open(&f->paths, &f->store, &err), &err);
    f->loop = new_loop();
    must(pool_new(f->loop, 2, &f->pool, &err), &err);
    must(store_writer_start(f->store, STORE_WRITER_THREAD, &f->writer, &err), &err);
    start_controller(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    controller_stop(f->controller);
    store_writer_stop(f->writer);
    controller_free(f->controller);
    pool_free(f->pool);
    loop_free(f->loop);
    store_close(f->store);
    must(fs_remove_tree(f->dir, &err), &err);
    paths_clear(&f->paths);
    free(f->file);
    free(f->project);
    free(f->dir);
    free(f);
    return 0;
}

static bool has_memory(void *context)
{
    struct fixture *f = context;
    struct error err = {0};
    struct vm_record record = {0};
    must(store_get(f->store, "web", &record, &err), &err);
    bool is_so = record.desired && record.desired->spec->memory_mib == f->memory_mib;
    vm_record_clear(&record);
    return is_so;
}

static void await_memory(struct fixture *f, uint32_t memory_mib)
{
    f->memory_mib = memory_mib;
    assert_true(run_until(f->loop, has_memory, f));
}

static void register_path(struct fixture *f, const char *path, bool is_directory)
{
    struct error err = {0};
    struct store_batch *batch = store_batch_new();
    struct source_record *wanted = source_record_new(path, 1);
    wanted->is_directory = is_directory;
    must(sources_add_registration(f->store, batch, wanted, &err), &err);
    must(store_commit(f->store, batch, &err), &err);
    store_batch_free(batch);
    source_record_free(wanted);
    must(bell_ring(&f->paths, BELL_DESIRED, &err), &err);
}

#define WRITE                                                                                      \
    "w() { printf 'vm \"web\" { backend \"noop\"; image \"/bin/true\"; memory %s }\\n' \"$1\"; "   \
    "}; "

/* Watched, and applied once with 500 MiB. */
static void begin(struct fixture *f)
{
    sh(f, WRITE "w $1 >VMFile.kdl", 500);
    register_path(f, f->file, false);
    await_memory(f, 500);
}

/* Saves with `script`, twice: the second time the directory is watched since longer. */
static void expect_noticed(struct fixture *f, const char *script)
{
    begin(f);
    sh(f, script, 600);
    await_memory(f, 600);
    sh(f, script, 700);
    await_memory(f, 700);
    assert_true(f->is_woken);
}

static void writing_in_place_is_noticed(void **state)
{
    expect_noticed(*state, WRITE "w $1 >VMFile.kdl");
}

static void a_write_in_two_parts_is_noticed(void **state)
{
    expect_noticed(*state, "printf 'vm \"web\" { backend \"noop\"; ' >VMFile.kdl; "
                           "printf 'image \"/bin/true\"; memory %s }\n' $1 >>VMFile.kdl");
}

static void a_rename_over_it_is_noticed(void **state)
{
    expect_noticed(*state, WRITE "w $1 >.VMFile.new; mv .VMFile.new VMFile.kdl");
}

static void sed_in_place_is_noticed(void **state)
{
    expect_noticed(*state, "sed -i \"s/memory [0-9]*/memory $1/\" VMFile.kdl");
}

static void removing_and_writing_anew_is_noticed(void **state)
{
    expect_noticed(*state, WRITE "rm VMFile.kdl; w $1 >VMFile.kdl");
}

static void a_link_set_to_another_file_is_noticed(void **state)
{
    expect_noticed(*state, WRITE "mkdir -p v; w $1 >v/$1.kdl; ln -sfn v/$1.kdl VMFile.kdl");
}

static void the_file_behind_a_link_is_noticed(void **state)
{
    struct fixture *f = *state;
    sh(f, WRITE "mkdir v; w $1 >v/real.kdl; ln -s v/real.kdl VMFile.kdl", 500);
    register_path(f, f->file, false);
    await_memory(f, 500);
    sh(f, WRITE "w $1 >v/real.kdl", 600);
    await_memory(f, 600);
}

static void a_link_on_the_way_set_anew_is_noticed(void **state)
{
    expect_noticed(*state, WRITE "mkdir -p d$1; w $1 >d$1/VMFile.kdl; ln -sfn d$1 ..data; "
                                 "[ -h VMFile.kdl ] || ln -sf ..data/VMFile.kdl VMFile.kdl");
}

static void git_checkout_is_noticed(void **state)
{
    struct fixture *f = *state;
    sh(f,
        WRITE "git init -q .; git config user.email a@b; git config user.name n; "
              "for m in 500 600 700; do w $m >VMFile.kdl; git add -A; git commit -qm $m; "
              "git tag m$m; done; git checkout -q m500",
        500);
    register_path(f, f->file, false);
    await_memory(f, 500);
    sh(f, "git checkout -q m$1", 700);
    await_memory(f, 700);
    sh(f, "git checkout -q m$1", 600);
    await_memory(f, 600);
}

static void vim_is_noticed(void **state)
{
    if (access("/usr/bin/vim", X_OK) < 0) {
        skip();
    }
    expect_noticed(*state, "vim -u NONE -es -c \"%s/memory \\d*/memory $1/\" -c wq VMFile.kdl");
}

static void a_directory_that_was_moved_away_and_made_anew_is_noticed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    sh(f, WRITE "cd ..; mv project old; mkdir project; w $1 >project/VMFile.kdl", 600);
    await_memory(f, 600);
    sh(f, WRITE "w $1 >VMFile.kdl", 700);
    await_memory(f, 700);
}

static void a_directory_that_was_removed_and_made_anew_is_noticed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    sh(f, WRITE "cd ..; rm -rf project; mkdir project; w $1 >project/VMFile.kdl", 600);
    await_memory(f, 600);
}

static bool has_step_of(void *context)
{
    struct fixture *f = context;
    struct error err = {0};
    struct vm_record record = {0};
    must(store_get(f->store, "web", &record, &err), &err);
    char digest[DIGEST_SIZE];
    cleanup_free char *text = mem_printf("echo %u\n", f->memory_mib);
    digest_text(text, digest);
    bool is_so = record.desired && record.desired->spec->n_steps == 1 &&
                 strcmp(record.desired->spec->steps[0].file.digest, digest) == 0;
    vm_record_clear(&record);
    return is_so;
}

static void a_script_that_the_file_names_is_noticed(void **state)
{
    struct fixture *f = *state;
    sh(f,
        "mkdir s; echo echo $1 >s/setup.sh; printf 'vm \"web\" { backend \"noop\"; "
        "image \"/bin/true\"; provision \"shell\" { script \"s/setup.sh\" } }\n' >VMFile.kdl",
        1);
    register_path(f, f->file, false);
    f->memory_mib = 1;
    assert_true(run_until(f->loop, has_step_of, f));
    sh(f, "echo echo $1 >s/new; mv s/new s/setup.sh", 2);
    f->memory_mib = 2;
    assert_true(run_until(f->loop, has_step_of, f));
}

static void a_file_that_appears_in_a_watched_directory_is_noticed(void **state)
{
    struct fixture *f = *state;
    register_path(f, f->project, true);
    sh(f, WRITE "w $1 >web.kdl", 600);
    await_memory(f, 600);
    sh(f, WRITE "w $1 >web.kdl", 700);
    await_memory(f, 700);
}

static bool is_unwatched(void *context)
{
    struct fixture *f = context;
    struct error err = {0};
    struct source_record *record = NULL;
    must(sources_get(f->store, f->file, &record, &err), &err);
    bool is_so = !record;
    source_record_free(record);
    return is_so;
}

static void what_is_forgotten_while_it_is_looked_at_stays_forgotten(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    bool was_watched;
    sh(f, WRITE "w $1 >VMFile.kdl", 500);
    for (int i = 0; i < 20; i++) {
        register_path(f, f->file, false);
        must(sources_forget(f->store, f->file, &was_watched, &err), &err);
        assert_true(run_until(f->loop, is_unwatched, f));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writing_in_place_is_noticed),
        TEST(a_write_in_two_parts_is_noticed),
        TEST(a_rename_over_it_is_noticed),
        TEST(sed_in_place_is_noticed),
        TEST(removing_and_writing_anew_is_noticed),
        TEST(a_link_set_to_another_file_is_noticed),
        TEST(the_file_behind_a_link_is_noticed),
        TEST(a_link_on_the_way_set_anew_is_noticed),
        TEST(git_checkout_is_noticed),
        TEST(vim_is_noticed),
        TEST(a_directory_that_was_moved_away_and_made_anew_is_noticed),
        TEST(a_directory_that_was_removed_and_made_anew_is_noticed),
        TEST(a_script_that_the_file_names_is_noticed),
        TEST(a_file_that_appears_in_a_watched_directory_is_noticed),
        TEST(what_is_forgotten_while_it_is_looked_at_stays_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
