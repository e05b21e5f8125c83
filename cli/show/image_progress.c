/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/image/image_request.h"
#include "store/store.h"

enum { NAME_MIN = 12, BAR_MIN = 8, BAR_MAX = 24, MB = 1000 * 1000 };

int image_progress_read(struct cli *cli, const char *session, json_t **ret, struct error *err)
{
    cleanup_json json_t *records = NULL;
    const char *key;
    json_t *record;
    void *next;
    int rc = cli_open_store(cli, err);
    if (rc < 0 || (rc = store_list_json(cli->store, STORE_IMAGES, &records, err)) < 0) {
        return rc;
    }
    json_object_foreach_safe(records, next, key, record)
    {
        if (!text_starts_with(key, IMAGE_GETTING_PREFIX) ||
            !text_eq(json_text(record, "session"), session)) {
            (void)json_object_del(records, key);
        }
    }
    *ret = TAKE_PTR(records);
    return 0;
}

const json_t *image_progress_of(const json_t *records, const char *url, const char *pin)
{
    const char *key;
    json_t *record;
    json_object_foreach((json_t *)(uintptr_t)records, key, record)
    {
        if (text_eq(json_text(record, "url"), url) && text_eq(json_text(record, "pin"), pin)) {
            return record;
        }
    }
    return NULL;
}

/* ---- text ---- */

static bool is_downloading(const json_t *record)
{
    return text_eq(json_text(record, "phase"), "downloading");
}

/* What is known besides the name, with `between` between; without "71%" when `total` is unknown. */
static void add_figures(struct buf *out, const json_t *record, const char *between)
{
    int64_t have = json_int(record, "have", 0), total = json_int(record, "total", -1);
    int64_t rate = json_int(record, "bytesPerSecond", 0), n_vms = json_int(record, "vms", 0);
    bool is_known = total > 0 && have <= total;
    if (is_downloading(record)) {
        if (is_known) {
            buf_printf(
                out, "%3d%%%s%lld/", (int)(have * 100 / total), between, (long long)(have / MB));
        }
        buf_printf(out, "%lld MB%s%.1f MB/s", (long long)((is_known ? total + MB - 1 : have) / MB),
            between, (double)rate / MB);
        if (is_known && rate > 0) {
            int64_t left_s = (total - have + rate - 1) / rate;
            char left[DURATION_SIZE];
            duration_format(left_s * 1000, left);
            buf_printf(out, "%s%s left", between, left);
        }
    } else {
        buf_add_str(out, json_text(record, "phase") ? json_text(record, "phase") : "working");
    }
    if (n_vms > 0) {
        buf_printf(out, "%sfor %lld VM%s", between, (long long)n_vms, n_vms == 1 ? "" : "s");
    }
}

void image_progress_name(struct buf *out, const json_t *record)
{
    const char *url = json_text(record, "url"), *path = json_text(record, "path");
    cleanup_free char *name = url_last_component(url ? url : path ? path : "?");
    text_add_printable(out, name, strlen(name));
}

/* Its beginning and its end; bytes are taken for columns, which at worst makes it shorter. */
static void add_middle_cut(struct buf *out, const char *name, size_t columns)
{
    size_t length = strlen(name), head = length;
    if (length > columns) {
        head = text_cut(name, length, (columns - 1) / 2);
    }
    buf_add(out, name, head);
    if (head < length) {
        const char *tail = name + length - (columns - 1 - (columns - 1) / 2);
        while (((unsigned char)*tail & 0xc0) == 0x80) {
            tail++;
        }
        buf_printf(out, "…%s", tail);
    }
}

void image_progress_draw(struct buf *out, const json_t *record, unsigned columns)
{
    cleanup_buf struct buf figures = BUF_INIT(0);
    cleanup_buf struct buf name = BUF_INIT(0);
    int64_t have = json_int(record, "have", 0), total = json_int(record, "total", -1);
    add_figures(&figures, record, "  ");
    image_progress_name(&name, record);
    unsigned room = columns > figures.len + 2 ? columns - (unsigned)figures.len - 2 : 0;
    room = room > NAME_MIN ? room : NAME_MIN; /* what is too long is cut at the end */
    unsigned for_name = (unsigned)name.len;
    unsigned bar = 0;
    if (is_downloading(record) && total > 0 && have <= total && room >= NAME_MIN + BAR_MIN + 2) {
        for_name = for_name > room - BAR_MIN - 2 ? room - BAR_MIN - 2 : for_name;
        bar = room - for_name - 2 < BAR_MAX ? room - for_name - 2 : BAR_MAX;
    }
    add_middle_cut(out, buf_str(&name), for_name < room ? for_name : room);
    buf_add_str(out, "  ");
    for (unsigned i = 0; i < bar; i++) {
        buf_add_str(out, (int64_t)i * total < have * bar ? "█" : "░");
    }
    buf_printf(out, "%s%s", bar > 0 ? "  " : "", buf_str(&figures));
}

void image_progress_say(struct buf *out, const json_t *record)
{
    buf_add_str(out, is_downloading(record) ? "downloading " : "");
    cleanup_buf struct buf figures = BUF_INIT(0);
    add_figures(&figures, record, ", ");
    buf_add_str(out, buf_str(&figures) + strspn(buf_str(&figures), " "));
}
