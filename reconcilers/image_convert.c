/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/image_convert.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reconcilers/tool.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/places.h"
#include "specs/base/text.h"
#include "specs/image_foreign.h"

enum { TIMEOUT_MS = 10 * 60 * 1000, TIMEOUT_PER_GIB_MS = 2 * 60 * 1000 };

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

char *image_temporary_path(const struct places *places, const char *key)
{
    char unique[TEXT_ID_SIZE];
    digest_random_id(unique);
    cleanup_free char *relative = mem_printf("images/.part/%s.tmp-%s", key, unique);
    return places_path(places, relative);
}

/* The source as qemu-img is to open it: as this format, from this one file, with no file below it
 * whatever the image says (QEMU's "json:" file names). free() it. */
static char *source_name(const struct image_conversion *conversion)
{
    cleanup_json json_t *file =
        json_pack("{s:s, s:s}", "driver", "file", "filename", conversion->from);
    cleanup_json json_t *source = json_pack("{s:s, s:n, s:O}", "driver",
        conversion->format->driver, "backing", "file", file);
    cleanup_free char *text = source ? json_dumps(source, JSON_COMPACT) : NULL;
    return text ? mem_printf("json:%s", text) : NULL;
}

struct op *image_convert_start(struct loop *loop, const struct image_conversion *conversion,
    child_done_fn *done, void *context)
{
    cleanup_free char *source = source_name(conversion);
    /* A name that is no UTF-8 cannot be said in JSON: then the header's check has to do alone. */
    const char *pinned[] = {
        "qemu-img", "convert", "-q", "-O", "qcow2", source, conversion->to, NULL};
    const char *plain[] = {"qemu-img", "convert", "-q", "-f", conversion->format->driver, "-O",
        "qcow2", conversion->from, conversion->to, NULL};
    int64_t size = fs_size(conversion->from);
    struct child_request request = {
        .argv = source ? pinned : plain,
        .timeout_ms = TIMEOUT_MS + (size >> 30) * TIMEOUT_PER_GIB_MS,
    };
    return child_start(loop, &request, done, context);
}

int image_convert_error(const char *title, const struct image_conversion *conversion,
    const struct error *child_err, struct error *err)
{
    return tool_error(err, ERR_IMAGE_CONVERSION, child_err, "cannot convert %s from %s to qcow2",
        title, conversion->format->name);
}
