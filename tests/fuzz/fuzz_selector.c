/* SPDX-License-Identifier: MPL-2.0 */
/* A selector of any text is parsed or refused, and what was parsed can be compared with labels. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/vm/selector.h"
#include "specs/vm/vm_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {.code = ERR_NONE};
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    cleanup_free char *text = mem_strndup((const char *)data, size);
    struct spec_label label = {.key = (char *)"tier", .value = (char *)"web"};
    const struct vm_spec spec = {.labels = &label, .n_labels = 1}, none = {.n_labels = 0};
    int rc = selector_parse(text, &selector, &err);
    assert((rc == 0) == (selector.count > 0) && (rc == 0 || rc == -ERR_USAGE));
    (void)selector_matches(&selector, &spec);
    (void)selector_matches(&selector, &none);
    return 0;
}
