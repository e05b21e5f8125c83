/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/published.h"

#include <stdlib.h>
#include <string.h>

#include "controller/http/multi.h"
#include "reconcilers/fetch/oci.h"
#include "reconcilers/fetch/request.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/url.h"
#include "specs/image/image_sums.h"

enum { LIST_MAX_BYTES = 4 << 20 };

struct search {
    struct op op; /* first: op_cancel() finds the search by it */
    char *name, *url, *sums;
    struct proxies *proxies;
    struct answer list;
    struct op *stage;
    struct oci_layer *layer; /* borrowed until `done` or a cancel */
};

static void cancel_search(struct op *op)
{
    struct search *search = (struct search *)(void *)op;
    op_cancel(search->stage);
    answer_clear(&search->list);
    proxies_free(search->proxies);
    free(search->name);
    free(search->url);
    free(search->sums);
    free(search);
}

static int take_sum(struct search *search, struct error *err)
{
    const struct answer *list = &search->list;
    cleanup_free char *shown = url_for_people(search->sums);
    cleanup_free char *file = url_last_component(search->url);
    char sum[IMAGE_SUM_SIZE];
    if (list->status != 200) {
        bool is_gone = list->status == 404 || list->status == 410;
        return error_set(err, is_gone ? ERR_IMAGE_NOT_FOUND : ERR_IMAGE_DOWNLOAD,
            "the publisher's checksums at %s: HTTP status %ld", shown, list->status);
    }
    if (!image_sums_find(buf_str(&list->body), list->body.len, file, sum)) {
        return error_set(err, ERR_IMAGE_NOT_FOUND,
            "the publisher's checksums at %s do not include %s", shown, file);
    }
    struct oci_layer *layer = search->layer;
    oci_layer_clear(layer);
    layer->url = TAKE_PTR(search->url);
    layer->title = TAKE_PTR(file);
    if (strlen(sum) < DIGEST_SIZE) {
        memcpy(layer->digest, sum, DIGEST_SIZE);
    } else {
        layer->sha512 = mem_strdup(sum);
        cleanup_free char *text = published_text(layer);
        digest_text(text, layer->digest);
    }
    return 0;
}

static void on_list(void *context, const struct error *err)
{
    struct search *search = context;
    struct error failure = err ? *err : (struct error){0};
    search->stage = NULL;
    if (!err && take_sum(search, &failure) == 0) {
        op_finish(&search->op, NULL);
        return;
    }
    proxies_blame(search->proxies, search->sums, &failure);
    (void)error_wrap(&failure, "image '%s'", search->name);
    if (failure.code == ERR_IMAGE_NOT_FOUND) {
        (void)error_help(
            &failure, "give its present URL in ~/.config/vmctl/images.kdl: see VMFile.kdl(5)");
    }
    op_finish(&search->op, &failure);
}

struct op *published_find(struct multi *multi, const struct published_file *file,
    const struct proxies *proxies, struct oci_layer *layer, op_done_fn *done, void *context)
{
    struct search *search = mem_new(struct search);
    search->op = (struct op){cancel_search, done, context};
    search->name = mem_strdup(file->name);
    search->url = mem_strdup(file->url);
    search->sums = mem_strdup(file->sums);
    search->proxies = proxies_copy(proxies);
    search->layer = layer;
    const struct request request = {
        .url = search->sums, .body_max = LIST_MAX_BYTES, .proxies = search->proxies};
    search->stage = request_get(multi, &request, &search->list, on_list, search);
    return &search->op;
}

char *published_text(const struct oci_layer *layer)
{
    return layer->sha512 ? mem_printf("sha512:%s", layer->sha512)
                         : mem_printf("sha256:%s", layer->digest);
}
