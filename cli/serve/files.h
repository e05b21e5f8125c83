/* SPDX-License-Identifier: MPL-2.0 */
/* The files of vmctl-serve itself, from cli/serve/page/: they are part of the program. */
#pragma once

#include <stddef.h>

struct serve_file {
    const char *name; /* "page.js" */
    const char *type; /* media type */
    const char *data;
    size_t size;
};

/* NULL: there is none of that name. */
const struct serve_file *serve_file_find(const char *name);
