/* SPDX-License-Identifier: MPL-2.0 */
/* dump DATA: what the store holds besides VMs' own records: names, leases, image records,
 * watched VMFiles. */
#include <stdio.h>
#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/paths.h"
#include "store/source/sources.h"
#include "store/store.h"

static int dump_names(struct store *store, struct error *err)
{
    struct vm_summary_list list = {.count = 0};
    int rc = store_list_summaries(store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct vm_summary *vm = &list.items[i];
        printf("vm %s%s%s%s\n", vm->name, vm->has_desired ? " desired" : "",
            vm->has_status ? " status" : "", vm->is_damaged ? " damaged" : "");
    }
    vm_summary_list_clear(&list);
    return rc;
}

static int dump_leases(struct store *store, struct error *err)
{
    struct lease_list list = {.count = 0};
    int rc = store_list_leases(store, NULL, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        printf("lease %s of %s\n", list.items[i].key, list.items[i].vm_name);
    }
    lease_list_clear(&list);
    return rc;
}

static int dump_images(struct store *store, struct error *err)
{
    cleanup_json json_t *images = NULL;
    const char *key;
    json_t *record;
    int rc = store_list_json(store, STORE_IMAGES, &images, err);
    json_object_foreach(images, key, record)
    {
        printf("image %s\n", key);
    }
    return rc;
}

static int dump_sources(struct store *store, struct error *err)
{
    struct source_list list = {.count = 0};
    int rc = sources_list(store, &list, err);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        const struct source_record *source = list.items[i];
        printf("source %s %s\n", source->path, source_state_name(source->state));
        printf("source %s applied \"%s\"\n", source->path, source->applied_sha);
    }
    source_list_clear(&list);
    return rc;
}

int main(int argc, char **argv)
{
    struct paths paths = {.data_dir = NULL};
    struct store *store = NULL;
    struct error err = {.code = ERR_NONE};
    int rc = paths_init(&paths, argc > 1 ? argv[1] : NULL, &err);
    if (rc == 0 && (rc = store_open(&paths, &store, &err)) == 0 &&
        (rc = dump_names(store, &err)) == 0 && (rc = dump_leases(store, &err)) == 0 &&
        (rc = dump_images(store, &err)) == 0) {
        rc = dump_sources(store, &err);
    }
    store_close(store);
    paths_clear(&paths);
    if (rc < 0) {
        fprintf(stderr, "dump: %s\n", err.message);
    }
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
