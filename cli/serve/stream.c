/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/stream.h"

#include <inttypes.h>

#include "cli/show/events.h"
#include "cli/show/output.h"
#include "specs/base/buf.h"
#include "specs/base/text.h"
#include "store/store.h"

int stream_add(
    struct store *store, const char *vm_name, uint64_t *after, struct buf *out, struct error *err)
{
    struct event_list list = {.count = 0};
    int rc = store_list_events(store, NULL, *after, 0, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        *after = list.items[i].sequence;
        if (vm_name && !text_eq(list.items[i].vm_name, vm_name)) {
            continue;
        }
        cleanup_json json_t *event = event_to_json(&list.items[i]);
        buf_printf(out, "id: %" PRIu64 "\nevent: event\ndata: ", *after);
        output_add_next(out, event);
        buf_add_char(out, '\n');
    }
    event_list_clear(&list);
    return rc;
}

int stream_newest(struct store *store, uint64_t *ret, struct error *err)
{
    struct event_list list = {.count = 0};
    int rc = store_list_events(store, NULL, 0, 1, &list, err);
    *ret = list.count > 0 ? list.items[list.count - 1].sequence : 0;
    event_list_clear(&list);
    return rc;
}
