/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/provision_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "reconcilers/guest/provision.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"

#define CUT "==> step 1/1: more output than the log keeps: the rest is dropped\n"

struct fixture {
    char dir[sizeof("/tmp/vmctl-provision-log-XXXXXX")];
    char *path;
};

static int set_up(void **state)
{
    struct fixture *f = mem_new(struct fixture);
    strcpy(f->dir, "/tmp/vmctl-provision-log-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->path = fs_join(f->dir, "provision.log");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    (void)unlink(f->path);
    (void)rmdir(f->dir);
    free(f->path);
    free(f);
    return 0;
}

static struct provision_log *open_log(const struct fixture *f)
{
    const struct provision_log_request request = {.path = f->path,
        .total = 1,
        .clock = clock_system(),
        .started_at_ms = clock_wall_ms(clock_system()),
        .kind = STEP_INLINE,
        .what = "yes"};
    struct provision_log *log = NULL;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(provision_log_open(&request, &log, &err), 0);
    return log;
}

static void write_lines(struct provision_log *log, size_t n_bytes)
{
    cleanup_free char *lines = mem_calloc(n_bytes, 1);
    memset(lines, 'y', n_bytes);
    for (size_t i = 1; i < n_bytes; i += 2) {
        lines[i] = '\n';
    }
    provision_log_output(log, lines, n_bytes);
}

/* For few hits only: at each a sanitizer looks at all of the rest. */
static int count(const struct buf *text, const char *what)
{
    const char *at = text->data, *end = text->data + text->len;
    int n = 0;
    while ((at = memmem(at, (size_t)(end - at), what, strlen(what)))) {
        at += strlen(what);
        n++;
    }
    return n;
}

static void output_without_end_is_cut_and_that_is_told_once(void **state)
{
    const struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    struct provision_log *log = open_log(f);
    write_lines(log, PROVISION_LOG_STEP_MAX - 2);
    for (int i = 0; i < 3; i++) {
        write_lines(log, 100000);
    }
    provision_log_close(log); /* killed: the next controller resumes */
    log = open_log(f);
    assert_true(provision_log_offset(log) > PROVISION_LOG_STEP_MAX);
    write_lines(log, 100000);
    provision_log_end(log, NULL);
    assert_int_equal(fs_read_file(f->path, &text, &err), 0);
    assert_in_range(text.len, PROVISION_LOG_STEP_MAX, PROVISION_LOG_STEP_MAX + 1000);
    assert_int_equal(count(&text, CUT), 1);
    assert_non_null(strstr(buf_str(&text) + text.len - 100, "y\n" CUT "==> step 1/1: done in "));
}

/* Opens the log for a step and closes it in its middle. */
static void touch_step(const struct fixture *f, uint32_t index, uint64_t begin)
{
    const struct provision_log_request request = {.path = f->path,
        .begin = begin,
        .index = index,
        .total = 2,
        .clock = clock_system(),
        .started_at_ms = 1700000000000,
        .kind = STEP_INLINE,
        .what = "yes"};
    struct provision_log *log = NULL;
    struct error err = {.code = ERR_NONE};
    assert_int_equal(provision_log_open(&request, &log, &err), 0);
    provision_log_close(log);
}

static void a_run_behind_another_begins_with_its_time(void **state)
{
    static const char first[] = "==> step 1/2: shell inline \"yes\"\n", half[] = "half a line";
    const struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0), expected = BUF_INIT(0);
    touch_step(f, 0, 0);
    buf_printf(&expected, "%s%s", first, half);
    assert_int_equal(fs_write_file(f->path, buf_str(&expected), expected.len, 0600, &err), 0);
    for (int i = 0; i < 2; i++) { /* the second controller finds it there */
        touch_step(f, 0, strlen(first) + strlen(half));
    }
    touch_step(f, 1, (uint64_t)fs_size(f->path));
    buf_printf(&expected, "\n==> run of 2023-11-14T22:13:20Z\n%s", first);
    buf_add_str(&expected, "==> step 2/2: shell inline \"yes\"\n");
    assert_int_equal(fs_read_file(f->path, &text, &err), 0);
    assert_string_equal(buf_str(&text), buf_str(&expected));
}

static void all_of_what_is_not_too_much_is_kept(void **state)
{
    const struct fixture *f = *state;
    struct error err = {.code = ERR_NONE};
    cleanup_buf struct buf text = BUF_INIT(0);
    struct provision_log *log = open_log(f);
    write_lines(log, PROVISION_LOG_STEP_MAX);
    provision_log_end(log, NULL);
    assert_int_equal(fs_read_file(f->path, &text, &err), 0);
    assert_int_equal(count(&text, CUT), 0);
    assert_in_range(text.len, PROVISION_LOG_STEP_MAX, PROVISION_LOG_STEP_MAX + 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(output_without_end_is_cut_and_that_is_told_once),
        TEST(a_run_behind_another_begins_with_its_time),
        TEST(all_of_what_is_not_too_much_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
