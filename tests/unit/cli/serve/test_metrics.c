/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/metrics.h"

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
#include "specs/base/mem.h"
#include "store/batch.h"
#include "store/store.h"

static const char builder[] = "~0123456789abcdef";

/* With a `cpu-limit` and a `memory-limit`, which are enforced or not. */
static void put_vm(struct cli *cli, const char *name, const char *uid, enum condition_state limited)
{
    struct error err = {.code = ERR_NONE};
    struct vm_status *status = vm_status_new(uid);
    struct store_batch *batch = store_batch_new();
    status->instance.started_at_ms = 1000;
    status->restart.total = 4;
    (void)memcpy(status->instance.instance_id, uid, TEXT_ID_SIZE);
    status->conditions[CONDITION_RUNNING].state = CONDITION_TRUE;
    status->conditions[CONDITION_RUNNING].last_transition_ms = 3000;
    status->conditions[CONDITION_LIMITED].state = limited;
    struct vm_spec *spec = vm_spec_new(name);
    spec->cpu_limit_milli = 1500;
    spec->memory_limit_mib = 2;
    vm_status_set_applied_spec(status, spec);
    vm_spec_free(spec);
    store_batch_put_status(batch, name, status);
    assert_int_equal(store_commit(cli->store, batch, &err), 0);
    store_batch_free(batch);
    vm_status_free(status);
}

static void put_image(const struct cli *cli, const char *name, size_t n)
{
    struct error err = {.code = ERR_NONE};
    cleanup_free char *relative = mem_printf("images/%s", name);
    cleanup_free char *path = paths_path(&cli->paths, relative);
    cleanup_free char *bytes = mem_calloc(1, n);
    assert_int_equal(fs_write_file(path, bytes, n, 0444, &err), 0);
}

static void assert_line(const struct buf *text, const char *line)
{
    cleanup_free char *whole = mem_printf("\n%s\n", line);
    if (!strstr(buf_str(text), whole)) {
        fail_msg("no %s in\n%s", line, buf_str(text));
    }
}

static void the_builder_of_a_template_is_no_machine_and_images_are_their_files(void **state)
{
    char dir[] = "/tmp/vmctl-metrics.XXXXXX";
    struct error err = {.code = ERR_NONE};
    struct cli cli = {.is_quiet = true};
    struct metrics *metrics = metrics_new();
    cleanup_buf struct buf text = BUF_INIT(0);
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(paths_init(&cli.paths, dir, &err), 0);
    assert_int_equal(cli_open_store(&cli, &err), 0);
    cleanup_free char *images = paths_path(&cli.paths, "images");
    assert_int_equal(fs_make_dirs(images, 0700, &err), 0);
    put_vm(&cli, "web", "00000000000000000000000000000001", CONDITION_TRUE);
    put_vm(&cli, builder, "00000000000000000000000000000002", CONDITION_TRUE);
    put_image(&cli, "0000000000000000000000000000000000000000000000000000000000000001.qcow2", 512);
    put_image(&cli, "0000000000000000000000000000000000000000000000000000000000000002.qcow2", 100);
    put_image(&cli, "debian-12", 7); /* not under its digest: not of the cache */
    assert_int_equal(metrics_add(metrics, &cli, false, &text, &err), 0);
    assert_line(&text, "vmctl_images 2");
    assert_line(&text, "vmctl_images_bytes 612");
    assert_line(&text, "vmctl_vm_ready{vm=\"web\"} 0");
    assert_line(&text, "vmctl_vm_restarts_total{vm=\"web\"} 4");
    assert_line(&text, "vmctl_vm_failures_in_a_row{vm=\"web\"} 0");
    assert_line(&text, "vmctl_start_duration_seconds_count 1");
    assert_null(strstr(buf_str(&text), builder));
    const char *states = strstr(buf_str(&text), "\nvmctl_vms{");
    assert_non_null(states);
    assert_null(strstr(states + 1, "\nvmctl_vms{")); /* one state, and one machine in it */
    assert_int_equal(strncmp(strstr(states, "} "), "} 1\n", 4), 0);
    assert_line(&text, "vmctl_vm_cpu_limit{vm=\"web\"} 1.5");
    assert_line(&text, "vmctl_vm_memory_limit_bytes{vm=\"web\"} 2097152");
    put_vm(&cli, "web", "00000000000000000000000000000001", CONDITION_FALSE);
    buf_clear(&text);
    assert_int_equal(metrics_add(metrics, &cli, false, &text, &err), 0);
    assert_null(strstr(buf_str(&text), "limit{"));
    assert_null(strstr(buf_str(&text), "limit_bytes{"));
    metrics_free(metrics);
    store_close(cli.store);
    paths_clear(&cli.paths);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_builder_of_a_template_is_no_machine_and_images_are_their_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
