/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/files.h"

#include "cli/serve/page/index.html.h"
#include "cli/serve/page/openapi.json.h"
#include "cli/serve/page/page.css.h"
#include "cli/serve/page/page.js.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

#define EMBEDDED(bytes) (const char *)(bytes), sizeof(bytes)

static const struct serve_file files[] = {
    {"index.html", "text/html; charset=utf-8", EMBEDDED(index_html)},
    {"page.css", "text/css; charset=utf-8", EMBEDDED(page_css)},
    {"page.js", "text/javascript; charset=utf-8", EMBEDDED(page_js)},
    {"openapi.json", "application/json", EMBEDDED(openapi_json)},
};

const struct serve_file *serve_file_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (text_eq(files[i].name, name)) {
            return &files[i];
        }
    }
    return NULL;
}
