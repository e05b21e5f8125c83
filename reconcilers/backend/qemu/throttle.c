/* SPDX-License-Identifier: MPL-2.0 */
/* query-block -> block_set_io_throttle of each disk that differs -> done (docs/throttle.txt). */
#include <stdlib.h>
#include <string.h>

#include "reconcilers/backend/qemu/argv.h"
#include "reconcilers/backend/qemu/machine.h"
#include "reconcilers/backend/qemu/monitor.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/spec_text.h"

#define GROUP "vmctl"

struct throttle {
    struct op op;
    struct machine *machine; /* borrowed: outlives this object */
    struct spec_io_limit limit;
    struct buf *changes; /* borrowed from the owner */
    size_t n_due;        /* commands that are not answered yet */
    struct error err;    /* of the first that failed */
};

/* The numbers as QMP has them: bytes a second, and 0 for no limit. */
static const struct {
    const char *name;
    size_t offset; /* of the limit's number; SIZE_MAX: a VMFile has none */
    unsigned shift;
} numbers[] = {
    {"bps", SIZE_MAX, 0},
    {"bps_rd", offsetof(struct spec_io_limit, read_kib), 10},
    {"bps_wr", offsetof(struct spec_io_limit, write_kib), 10},
    {"iops", offsetof(struct spec_io_limit, iops), 0},
    {"iops_rd", SIZE_MAX, 0},
    {"iops_wr", SIZE_MAX, 0},
};

static int64_t number_of(const struct spec_io_limit *limit, size_t i)
{
    if (numbers[i].offset == SIZE_MAX) {
        return 0;
    }
    uint32_t number;
    memcpy(&number, (const char *)limit + numbers[i].offset, sizeof(number));
    return (int64_t)number << numbers[i].shift;
}

/* Of a disk of the VM, with its place in QEMU's tree of objects; NULL: it is none, as the seed. */
static const char *path_of_disk(const json_t *block)
{
    static const char devices[] = "/machine/peripheral/";
    const char *path = json_text(block, "qdev");
    const char *name = path && text_starts_with(path, devices) ? path + strlen(devices) : "";
    bool is_disk = text_starts_with(name, "disk/") || text_starts_with(name, "disk-") ||
                   text_starts_with(name, QEMU_VOLUME);
    return is_disk && json_object_get(block, "inserted") ? path : NULL;
}

static bool is_as_wanted(const struct throttle *throttle, const json_t *inserted)
{
    bool is_limited = false, is_equal = true;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        is_limited |= number_of(&throttle->limit, i) > 0;
        is_equal &= json_int(inserted, numbers[i].name, 0) == number_of(&throttle->limit, i);
    }
    bool is_ours = text_eq(json_text(inserted, "group"), GROUP);
    return is_limited ? is_equal && is_ours : !is_ours || is_equal;
}

static void throttle_end(struct throttle *throttle)
{
    op_finish(&throttle->op, throttle->err.code ? &throttle->err : NULL);
}

static void limited(void *context, const json_t *value, const struct error *err)
{
    struct throttle *throttle = context;
    (void)value;
    if (err && !throttle->err.code) {
        throttle->err = *err;
        (void)error_wrap(&throttle->err, "cannot set `io-limit`");
    }
    if (--throttle->n_due == 0) {
        throttle_end(throttle);
    }
}

static void limit_disk(struct throttle *throttle, const char *path)
{
    struct error err = {0};
    json_t *arguments = json_object();
    json_put_text(arguments, "id", path);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        json_put_int(arguments, numbers[i].name, number_of(&throttle->limit, i));
    }
    json_put_text(arguments, "group", GROUP);
    throttle->n_due++;
    if (monitor_execute(throttle->machine->monitor, "block_set_io_throttle", arguments, limited,
            throttle, &err) < 0) {
        throttle->n_due--;
        throttle->err = throttle->err.code ? throttle->err : err;
    }
}

static void throttle_note(struct throttle *throttle)
{
    cleanup_buf struct buf text = BUF_INIT(0);
    spec_text_add_io_limit(&text, &throttle->limit);
    buf_printf(throttle->changes, "%sio-limit%s", throttle->changes->len > 0 ? ", " : "",
        text.len > 0 ? buf_str(&text) : " removed");
}

static void blocks_arrived(void *context, const json_t *value, const struct error *err)
{
    struct throttle *throttle = context;
    size_t i;
    json_t *block;
    if (err) {
        throttle->err = *err;
        throttle_end(throttle);
        return;
    }
    json_array_foreach(value, i, block)
    {
        const char *path = path_of_disk(block);
        if (path && !is_as_wanted(throttle, json_object_get(block, "inserted"))) {
            limit_disk(throttle, path);
        }
    }
    if (throttle->n_due == 0) {
        throttle_end(throttle);
    } else {
        throttle_note(throttle);
    }
}

static void throttle_cancel(struct op *op)
{
    struct throttle *throttle = (struct throttle *)(void *)op;
    if (throttle->machine->monitor) {
        monitor_forget(throttle->machine->monitor, throttle);
    }
    free(throttle);
}

struct op *machine_throttle(struct machine *machine, const struct spec_io_limit *limit,
    struct buf *changes, op_done_fn *done, void *context, struct error *err)
{
    struct throttle *throttle = mem_new(struct throttle);
    *throttle = (struct throttle){.op = {throttle_cancel, done, context},
        .machine = machine,
        .limit = *limit,
        .changes = changes};
    if (monitor_execute(machine->monitor, "query-block", NULL, blocks_arrived, throttle, err) < 0) {
        free(throttle);
        return NULL;
    }
    return &throttle->op;
}
