/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/outcome.h"

#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

enum { VALUE_MAX = 60 };

bool outcome_needs(const struct spec_diff *diff, enum disposition disposition)
{
    for (size_t i = 0; i < diff->count; i++) {
        if (diff->changes[i].disposition == disposition) {
            return true;
        }
    }
    return false;
}

/* Some values are whole JSON objects: their beginning does. */
static void add_value(struct buf *out, const char *value)
{
    size_t n = strlen(value), shown = n < VALUE_MAX ? n : VALUE_MAX;
    while (shown < n && shown > 0 && ((unsigned char)value[shown] & 0xc0) == 0x80) {
        shown--;
    }
    text_add_printable(out, value, shown);
    buf_add_str(out, shown < n ? "…" : "");
}

static void add_changes(struct buf *out, const struct spec_diff *diff, enum disposition disposition)
{
    bool is_first = true;
    for (size_t i = 0; i < diff->count; i++) {
        const struct spec_change *change = &diff->changes[i];
        if (change->disposition != disposition) {
            continue;
        }
        buf_printf(out, "%s%s ", is_first ? "" : ", ", change->field);
        add_value(out, change->before);
        buf_add_str(out, " -> ");
        add_value(out, change->after);
        is_first = false;
    }
}

static void add_line(struct buf *out, const struct outcome_view *view, const char *when,
    enum disposition disposition)
{
    if (outcome_needs(&view->outcome->diff, disposition)) {
        buf_printf(out, "%s: configured%s: ", view->name, when);
        add_changes(out, &view->outcome->diff, disposition);
        buf_add_char(out, '\n');
    }
}

/* Changes that need nothing more than what happens anyway. */
static void add_configured(struct buf *out, const struct outcome_view *view)
{
    const struct spec_diff *diff = &view->outcome->diff;
    if (view->has_instance && !view->is_restarting && !view->is_recreating) {
        add_line(out, view, " (live)", DISPOSITION_LIVE);
    } else if (view->stays_off) {
        add_line(out, view, "", DISPOSITION_LIVE);
        add_line(out, view, " (at next start)", DISPOSITION_RESTART);
    } else if (outcome_needs(diff, DISPOSITION_LIVE) && outcome_needs(diff, DISPOSITION_RESTART)) {
        buf_printf(out, "%s: configured: ", view->name);
        add_changes(out, diff, DISPOSITION_LIVE);
        buf_add_str(out, ", ");
        add_changes(out, diff, DISPOSITION_RESTART);
        buf_add_char(out, '\n');
    } else {
        add_line(out, view, "", DISPOSITION_LIVE);
        add_line(out, view, "", DISPOSITION_RESTART);
    }
}

bool outcome_waits(const struct outcome_view *view, enum disposition disposition)
{
    return disposition == DISPOSITION_RECREATE
        ? !view->is_recreating
        : disposition == DISPOSITION_RESTART && view->has_instance && !view->is_restarting &&
            !view->is_recreating;
}

static void add_required(struct buf *out, const struct outcome_view *view)
{
    if (outcome_waits(view, DISPOSITION_RESTART) &&
        outcome_needs(view->pending, DISPOSITION_RESTART)) {
        buf_printf(out, "%s: restart required: ", view->name);
        add_changes(out, view->pending, DISPOSITION_RESTART);
        buf_add_str(out, " (vmctl up --restart)\n");
    }
    if (outcome_waits(view, DISPOSITION_RECREATE) &&
        outcome_needs(view->pending, DISPOSITION_RECREATE)) {
        buf_printf(out, "%s: recreate required: ", view->name);
        add_changes(out, view->pending, DISPOSITION_RECREATE);
        buf_add_str(out, " (vmctl up --recreate; erases the disk)\n");
    }
    if (!view->is_provisioning && outcome_needs(&view->outcome->diff, DISPOSITION_PROVISION)) {
        buf_printf(out, "%s: provision steps changed (run them: vmctl provision --name %s)\n",
            view->name, view->name);
    }
}

static const char *headline(const struct outcome_view *view)
{
    switch (view->outcome->result) {
    case WISH_CREATED:
        return "created";
    case WISH_STARTED:
        return "started";
    case WISH_STOPPED:
        return "stopped";
    case WISH_RESTARTED:
        return "restarted";
    case WISH_RECREATED:
        return "recreated";
    case WISH_DELETED:
        return "deleted";
    case WISH_REQUESTED:
        return view->is_provisioning ? "provisioning again" : "trying again";
    default:
        return NULL;
    }
}

void outcome_describe(struct buf *out, const struct outcome_view *view)
{
    size_t before = out->len;
    const char *head = headline(view);
    if (head) {
        buf_printf(out, "%s: %s\n", view->name, head);
    }
    add_configured(out, view);
    add_required(out, view);
    if (out->len == before) {
        buf_printf(out, "%s: %s\n", view->name,
            view->outcome->result == WISH_CONFIGURED ? "configured" : "unchanged");
    }
}
