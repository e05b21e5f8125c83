/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image/image_convert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/base/remote_mount.h"
#include "specs/base/user_path.h"
#include "specs/image/image_foreign.h"

enum {
    TIMEOUT_MS = 10 * 60 * 1000,
    TIMEOUT_PER_GIB_MS = 2 * 60 * 1000,
    OUTPUT_MAX = 1 << 20,
    WATCH_MS = 5000,
};

/* Address space: a table of references for a terabyte, threads and their stacks. */
#define MEMORY_MAX (UINT64_C(4) << 30)

static const char *driver_of(const struct image_foreign *format)
{
    return format ? format->driver : "qcow2";
}

void image_conversion_clear(struct image_conversion *conversion)
{
    if (conversion->to) {
        (void)unlink(conversion->to);
    }
    if (conversion->from_is_temporary) {
        (void)unlink(conversion->from);
    }
    free(conversion->from);
    free(conversion->to);
    *conversion = (struct image_conversion){0};
}

char *image_temporary_path(const struct paths *paths, const char *key)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *relative = mem_printf("images/.part/%s.tmp-%s", key, unique);
    return paths_path(paths, relative);
}

/* The source as qemu-img is to open it: as this format, from this one file, with no file below it
 * whatever the image says (QEMU's "json:" file names). free() it. */
static char *source_name(const struct image_foreign *format, const char *path)
{
    cleanup_json json_t *file = json_pack("{s:s, s:s}", "driver", "file", "filename", path);
    cleanup_json json_t *source =
        json_pack("{s:s, s:n, s:O}", "driver", driver_of(format), "backing", "file", file);
    cleanup_free char *text = source ? json_dumps(source, JSON_COMPACT) : NULL;
    return text ? mem_printf("json:%s", text) : NULL;
}

/* `qemu-img check`, where it finds damage in the format, then `qemu-img convert`. */
struct converter {
    struct op op; /* first: op_cancel() finds the converter by it */
    struct loop *loop;
    struct loop_timer *watch; /* NULL: the source is on a file system of this machine */
    struct op *stage;
    const struct image_foreign *format;
    char *from, *to;
    int64_t timeout_ms;
    child_done_fn *done;
    void *context;
};

static void free_converter(struct op *op)
{
    struct converter *converter = (struct converter *)op;
    op_cancel(converter->stage);
    loop_timer_free(converter->watch);
    free(converter->from);
    free(converter->to);
    free(converter);
}

static void image_convert_finish(void *context, const struct error *err, const char *output)
{
    struct converter *converter = context;
    child_done_fn *done = converter->done;
    void *done_context = converter->context;
    converter->stage = NULL;
    free_converter(&converter->op);
    done(done_context, err, output);
}

/* qemu-img waits in a read that nothing ends, and is left to that. */
static void on_watch(void *context)
{
    struct converter *converter = context;
    struct stat st;
    if (user_path_readable(converter->from, &st) == 0 || errno != ETIMEDOUT) {
        loop_timer_start(converter->watch, WATCH_MS);
        return;
    }
    struct error err = {.code = ERR_NONE};
    (void)user_path_error(converter->from, ETIMEDOUT, &err);
    op_cancel(TAKE_PTR(converter->stage));
    image_convert_finish(converter, &err, "");
}

static void watch_source(struct converter *converter)
{
    if (remote_mount_has(converter->from)) {
        converter->watch = loop_timer_new(converter->loop, on_watch, converter);
        loop_timer_start(converter->watch, WATCH_MS);
    }
}

static struct op *image_convert_start_now(
    struct converter *converter, const char *const *argv, child_done_fn *done)
{
    struct child_request request = {.argv = argv,
        .timeout_ms = converter->timeout_ms,
        .memory_max = MEMORY_MAX,
        .output_max = OUTPUT_MAX};
    return child_start(converter->loop, &request, done, converter);
}

static void start_conversion(struct converter *converter)
{
    cleanup_free char *source = source_name(converter->format, converter->from);
    /* A name that is no UTF-8 cannot be said in JSON: then the header's check has to do alone. */
    const char *pinned[] = {
        "qemu-img", "convert", "-q", "-O", "qcow2", source, converter->to, NULL};
    const char *plain[] = {"qemu-img", "convert", "-q", "-f", driver_of(converter->format), "-O",
        "qcow2", converter->from, converter->to, NULL};
    converter->stage =
        image_convert_start_now(converter, source ? pinned : plain, image_convert_finish);
}

/* Its exit status is not 0 for clusters that nothing refers to, either. They do no harm. */
static bool has_only_leaks(const char *output)
{
    const char *report = strstr(output, "{\n");
    cleanup_json json_t *json = report ? json_loads(report, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    return json_int(json, "leaks", 0) > 0 && json_int(json, "corruptions", 0) == 0 &&
           json_int(json, "check-errors", 1) == 0;
}

static void on_checked(void *context, const struct error *err, const char *output)
{
    struct converter *converter = context;
    converter->stage = NULL;
    if (err && !has_only_leaks(output)) {
        struct error found = *err;
        /* What it found first says more than the end of its report. */
        size_t n = strcspn(output, "\n");
        if (output[0] != '{' && n > 0) {
            (void)snprintf(found.message, sizeof(found.message), "%.*s", (int)n, output);
        }
        image_convert_finish(converter, &found, output);
    } else if (!converter->to) {
        image_convert_finish(converter, NULL, output);
    } else {
        start_conversion(converter);
    }
}

static void start_check(struct converter *converter)
{
    cleanup_free char *source = source_name(converter->format, converter->from);
    const char *pinned[] = {"qemu-img", "check", "--output=json", source, NULL};
    const char *plain[] = {"qemu-img", "check", "--output=json", "-f", driver_of(converter->format),
        converter->from, NULL};
    converter->stage = image_convert_start_now(converter, source ? pinned : plain, on_checked);
}

struct op *image_convert_start(struct loop *loop, const struct image_conversion *conversion,
    child_done_fn *done, void *context)
{
    struct stat st;
    int64_t size = user_path_stat(conversion->from, &st) == 0 ? st.st_size : 0;
    struct converter *converter = mem_new(struct converter);
    *converter = (struct converter){.op.cancel = free_converter,
        .loop = loop,
        .format = conversion->format,
        .from = mem_strdup(conversion->from),
        .to = mem_strdup(conversion->to),
        .timeout_ms = TIMEOUT_MS + (size >> 30) * TIMEOUT_PER_GIB_MS,
        .done = done,
        .context = context};
    watch_source(converter);
    if (!conversion->format || conversion->format->has_check) {
        start_check(converter);
    } else {
        start_conversion(converter);
    }
    return &converter->op;
}

static void add_replaced(struct buf *out, const char *text, const char *name, const char *title)
{
    const char *found;
    while (name && (found = strstr(text, name))) {
        (void)buf_add(out, text, (size_t)(found - text));
        buf_add_str(out, title);
        text = found + strlen(name);
    }
    buf_add_str(out, text);
}

/* qemu-img names the file it was given to open, which of a download is a temporary one's. */
static void name_as_asked_for(
    const struct image_conversion *conversion, const char *title, struct error *err)
{
    cleanup_buf struct buf once = BUF_INIT(0), twice = BUF_INIT(0);
    cleanup_free char *source = source_name(conversion->format, conversion->from);
    add_replaced(&once, err->message, source, title);
    add_replaced(&twice, buf_str(&once), conversion->from, title);
    (void)snprintf(err->message, sizeof(err->message), "%s", buf_str(&twice));
}

int image_convert_error(const char *title, const struct image_conversion *conversion,
    const struct error *child_err, const char *output, struct error *err)
{
    struct error failure = *child_err;
    name_as_asked_for(conversion, title, &failure);
    if (!conversion->format && output[0]) {
        error_set(err, ERR_IMAGE_FORMAT, "%s is damaged: %s", title, failure.message);
        return error_help(
            err, "copy or download the image again (see the errors: qemu-img check IMAGE)");
    }
    if (!conversion->format) {
        return child_error(err, ERR_IMAGE_CONVERSION, &failure, "cannot check %s", title);
    }
    return child_error(err, ERR_IMAGE_CONVERSION, &failure, "cannot convert %s from %s to qcow2",
        title, conversion->format->name);
}
