/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "store/batch.h"
#include "store/store.h"

static void add(struct cli *cli, const char *vm_name, const char *message)
{
    struct error err = {.code = ERR_NONE};
    struct store_batch *batch = store_batch_new();
    store_batch_add_event(batch, vm_name, false, REASON_STOPPED, message, 1000);
    assert_int_equal(store_commit(cli->store, batch, &err), 0);
    store_batch_free(batch);
}

static void what_other_machines_do_is_passed_over_once(void **state)
{
    char dir[] = "/tmp/vmctl-stream.XXXXXX";
    struct error err = {.code = ERR_NONE};
    struct cli cli = {.is_quiet = true};
    cleanup_buf struct buf text = BUF_INIT(0);
    uint64_t after = 0, newest = 0;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(paths_init(&cli.paths, dir, &err), 0);
    assert_int_equal(cli_open_store(&cli, &err), 0);
    add(&cli, "web", "first");
    add(&cli, "db", "second");
    assert_int_equal(stream_newest(cli.store, &newest, &err), 0);
    assert_int_equal(stream_add(cli.store, "web", &after, &text, &err), 0);
    assert_non_null(strstr(buf_str(&text), "\"first\""));
    assert_null(strstr(buf_str(&text), "second"));
    assert_int_equal(after, newest);
    buf_reset(&text);
    add(&cli, "web", "third");
    assert_int_equal(stream_add(cli.store, NULL, &after, &text, &err), 0);
    assert_ptr_equal(strstr(buf_str(&text), "id: "), buf_str(&text));
    assert_non_null(strstr(buf_str(&text), "\"third\""));
    assert_null(strstr(buf_str(&text), "second"));
    store_close(cli.store);
    paths_clear(&cli.paths);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_other_machines_do_is_passed_over_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
