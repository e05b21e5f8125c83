/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/source/dir_watch.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "specs/base/cleanup.h"
#include "specs/base/strings.h"
#include "tests/unit/controller/test_support.h"

/* What was heard: "DIRECTORY NAME", "DIRECTORY" or "anywhere". */
struct ear {
    struct loop *loop;
    struct dir_watch *watch;
    struct strings heard, saved; /* the latter without what only made, moved or removed a file */
    const char *wanted;
};

static void on_heard(void *context, const char *directory, const char *name, bool is_saved)
{
    struct ear *ear = context;
    cleanup_free char *text =
        directory ? mem_printf("%s%s%s", directory, name ? " " : "", name ? name : "")
                  : mem_strdup("anywhere");
    strings_add(&ear->heard, text);
    if (is_saved) {
        strings_add(&ear->saved, text);
    }
}

static struct ear new_ear(void)
{
    return (struct ear){.loop = new_loop()};
}

static void begin(struct ear *ear)
{
    ear->watch = dir_watch_new(ear->loop, on_heard, ear);
}

static void end(struct ear *ear)
{
    dir_watch_free(ear->watch);
    loop_free(ear->loop);
    strings_clear(&ear->heard);
    strings_clear(&ear->saved);
}

static void watch_only(struct ear *ear, const char *directory)
{
    struct strings directories = {.count = 0};
    if (directory) {
        strings_add(&directories, directory);
    }
    dir_watch_set(ear->watch, &directories);
    strings_clear(&directories);
}

static bool has_heard(void *context)
{
    struct ear *ear = context;
    return strings_have(&ear->heard, ear->wanted);
}

static void await(struct ear *ear, const char *directory, const char *name)
{
    cleanup_free char *text = mem_printf("%s%s%s", directory, name[0] ? " " : "", name);
    ear->wanted = text;
    assert_true(run_until(ear->loop, has_heard, ear));
}

static void touch(const char *directory, const char *name)
{
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

static void what_happens_is_told_by_name_and_a_new_directory_as_a_whole(void **state)
{
    const char *dir = *state;
    struct ear ear = new_ear();
    begin(&ear);
    watch_only(&ear, dir);
    assert_true(strings_have(&ear.heard, dir));
    assert_true(dir_watch_is_complete(ear.watch));
    strings_clear(&ear.heard);
    watch_only(&ear, dir); /* it is watched already */
    assert_int_equal(ear.heard.count, 0);
    touch(dir, "a");
    await(&ear, dir, "a");
    end(&ear);
}

static void a_save_is_told_from_what_begins_one(void **state)
{
    const char *dir = *state;
    static const struct {
        const char *path, *to; /* renamed, or made and closed */
    } acts[] = {{"a", NULL}, {"a", "b"}};
    struct ear ear = new_ear();
    begin(&ear);
    watch_only(&ear, dir);
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        cleanup_free char *path = mem_printf("%s/%s", dir, acts[i].path);
        cleanup_free char *to = acts[i].to ? mem_printf("%s/%s", dir, acts[i].to) : NULL;
        cleanup_free char *last = mem_printf("%s %s", dir, to ? acts[i].to : acts[i].path);
        cleanup_close int fd = to ? -1 : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (to) {
            assert_int_equal(rename(path, to), 0);
        } else {
            await(&ear, dir, acts[i].path);
            assert_int_equal(ear.saved.count, 0);
            close(TAKE_FD(fd));
        }
        strings_clear(&ear.heard);
        strings_clear(&ear.saved);
        await(&ear, dir, to ? acts[i].to : acts[i].path);
        assert_int_equal(ear.saved.count, 1);
        assert_string_equal(ear.saved.items[0], last);
    }
    end(&ear);
}

static void what_is_no_longer_wanted_is_no_longer_heard(void **state)
{
    const char *dir = *state;
    cleanup_free char *other = mem_printf("%s/other", dir);
    struct ear ear = new_ear();
    assert_int_equal(mkdir(other, 0700), 0);
    begin(&ear);
    watch_only(&ear, dir);
    watch_only(&ear, other);
    strings_clear(&ear.heard);
    touch(dir, "a");
    touch(other, "b"); /* events come in order: after this one "a" would have come */
    await(&ear, other, "b");
    assert_int_equal(ear.heard.count, 1);
    end(&ear);
}

static void a_directory_that_is_replaced_is_reported_and_watched_again(void **state)
{
    const char *dir = *state;
    cleanup_free char *path = mem_printf("%s/d", dir), *away = mem_printf("%s/away", dir);
    struct ear ear = new_ear();
    assert_int_equal(mkdir(path, 0700), 0);
    begin(&ear);
    watch_only(&ear, path);
    strings_clear(&ear.heard);
    assert_int_equal(rename(path, away), 0);
    await(&ear, path, "");
    assert_int_equal(mkdir(path, 0700), 0);
    strings_clear(&ear.heard);
    watch_only(&ear, path);
    assert_true(strings_have(&ear.heard, path));
    touch(path, "a");
    await(&ear, path, "a");
    strings_clear(&ear.heard);
    assert_int_equal(fs_remove_tree(path, &(struct error){0}), 0);
    await(&ear, path, "");
    end(&ear);
}

/* A rename further up is not told; being asked for again is enough. */
static void a_directory_replaced_unheard_is_found_when_it_is_set_again(void **state)
{
    const char *dir = *state;
    struct error err = {0};
    cleanup_free char *path = mem_printf("%s/up/d", dir);
    cleanup_free char *up = mem_printf("%s/up", dir), *away = mem_printf("%s/away", dir);
    struct ear ear = new_ear();
    assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
    begin(&ear);
    watch_only(&ear, path);
    assert_int_equal(rename(up, away), 0);
    assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
    strings_clear(&ear.heard);
    watch_only(&ear, path);
    assert_true(strings_have(&ear.heard, path));
    touch(path, "a");
    await(&ear, path, "a");
    end(&ear);
}

static long max_queued_events(void)
{
    struct error err = {0};
    cleanup_buf struct buf text = BUF_INIT(64);
    assert_int_equal(fs_read_file("/proc/sys/fs/inotify/max_queued_events", &text, &err), 0);
    return strtol(buf_str(&text), NULL, 10);
}

static void lost_events_are_told_as_a_change_anywhere(void **state)
{
    const char *dir = *state;
    struct ear ear = new_ear();
    long max = max_queued_events();
    if (max > 100000) {
        end(&ear);
        skip();
    }
    begin(&ear);
    watch_only(&ear, dir);
    for (long i = 0; i <= max; i++) { /* an event each, none like the one before */
        cleanup_free char *name = mem_printf("%ld", i % 7);
        touch(dir, name);
    }
    await(&ear, "anywhere", "");
    end(&ear);
}

static void what_is_not_there_leaves_the_set_incomplete(void **state)
{
    const char *dir = *state;
    cleanup_free char *missing = mem_printf("%s/missing", dir);
    struct ear ear = new_ear();
    begin(&ear);
    watch_only(&ear, missing);
    assert_false(dir_watch_is_complete(ear.watch));
    watch_only(&ear, dir);
    assert_true(dir_watch_is_complete(ear.watch));
    end(&ear);
}

static void without_inotify_nothing_is_heard_and_the_set_is_incomplete(void **state)
{
    const char *dir = *state;
    struct ear ear = new_ear();
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    begin(&ear);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    watch_only(&ear, dir);
    assert_false(dir_watch_is_complete(ear.watch));
    end(&ear);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_scratch_dir, remove_scratch_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_happens_is_told_by_name_and_a_new_directory_as_a_whole),
        TEST(a_save_is_told_from_what_begins_one),
        TEST(what_is_no_longer_wanted_is_no_longer_heard),
        TEST(a_directory_that_is_replaced_is_reported_and_watched_again),
        TEST(a_directory_replaced_unheard_is_found_when_it_is_set_again),
        TEST(lost_events_are_told_as_a_change_anywhere),
        TEST(what_is_not_there_leaves_the_set_incomplete),
        TEST(without_inotify_nothing_is_heard_and_the_set_is_incomplete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
