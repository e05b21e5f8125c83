/* SPDX-License-Identifier: MPL-2.0 */
/* The helpers of controller/reconciler.h that fill and empty a patch. */
#include "controller/reconciler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "specs/base/mem.h"

enum { MESSAGE_MAX = 1024 }; /* of an event; more is cut */

void vm_patch_event(
    struct vm_patch *patch, bool is_warning, enum reason reason, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    mem_grow(patch->events, patch->n_events);
    patch->events[patch->n_events++] = (struct patch_event){
        .is_warning = is_warning,
        .reason = reason,
        .message = mem_strdup(message),
    };
}

static void add_text(char ***strings, size_t *count, const char *text)
{
    mem_grow(*strings, *count);
    (*strings)[(*count)++] = mem_strdup(text);
}

void vm_patch_lease(struct vm_patch *patch, const char *key)
{
    add_text(&patch->leases, &patch->n_leases, key);
}

void vm_patch_drop_lease(struct vm_patch *patch, const char *key)
{
    add_text(&patch->dropped_leases, &patch->n_dropped_leases, key);
}

void vm_patch_image(struct vm_patch *patch, const char *key, json_t *record_take)
{
    mem_grow(patch->images, patch->n_images);
    patch->images[patch->n_images++] =
        (struct patch_image){.key = mem_strdup(key), .record = record_take};
}

static void free_strings(char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(strings[i]);
    }
    free(strings);
}

void vm_patch_clear(struct vm_patch *patch)
{
    vm_status_free(patch->status);
    free_strings(patch->leases, patch->n_leases);
    free_strings(patch->dropped_leases, patch->n_dropped_leases);
    for (size_t i = 0; i < patch->n_events; i++) {
        free(patch->events[i].message);
    }
    free(patch->events);
    for (size_t i = 0; i < patch->n_images; i++) {
        free(patch->images[i].key);
        json_decref(patch->images[i].record);
    }
    free(patch->images);
    *patch = (struct vm_patch){0};
}
