/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The files of the page. Those in cli/serve/page/ are compiled into vmctl-serve; the terminal
 * (xterm.js) and the viewer (noVNC) come from packages of the distribution, which keeps them up to
 * date. The page works without the packages.
 */
#pragma once

#include <stddef.h>

struct buf;
struct error;

struct serve_file {
    const char *name; /* "page.js" */
    const char *type; /* media type */
    const char *data;
    size_t size;
};

/* NULL: there is none of that name. */
const struct serve_file *serve_file_find(const char *name);

/* "/novnc/core/rfb.js", "/xterm/xterm.css": a script or a style sheet of such a package; no other
 * file of it. "/xterm/modules.js": all of xterm.js. *ret_type is its media type. -ERR_USAGE: there
 * is none. */
int serve_file_read(const char *path, struct buf *out, const char **ret_type, struct error *err);
