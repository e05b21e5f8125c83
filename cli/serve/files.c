/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/serve/files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/serve/page/index.html.h"
#include "cli/serve/page/openapi.json.h"
#include "cli/serve/page/page.css.h"
#include "cli/serve/page/page.js.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
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

/* ---- of packages ---- */

static const struct {
    const char *path, *directory;
} libraries[] = {
    {"/xterm/xterm.css", "/usr/share/javascript/xterm/xterm.css"},
    {"/novnc/core/", "/usr/share/novnc/core/"},
    {"/novnc/vendor/", "/usr/share/novnc/vendor/"},
};

static const char *type_of(const char *path)
{
    return text_ends_with(path, ".js")    ? "text/javascript; charset=utf-8"
           : text_ends_with(path, ".css") ? "text/css; charset=utf-8"
                                          : NULL;
}

/* Letters, digits and '-', with a '.' or a '/' between them: no "..", nothing that is hidden. */
static bool is_plain(const char *path)
{
    static const char inner[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    for (size_t n; (n = strspn(path, inner)) > 0; path += n + 1) {
        if (path[n] == '\0') {
            return true;
        }
        if (!strchr("./", path[n])) {
            return false;
        }
    }
    return false;
}

/* Debian has xterm.js as modules of Node.js, which no browser knows: each becomes a function of
 * page.js' own `require`. Its own bundle for browsers (libjs-xterm) is empty. */
#define MODULES "/usr/share/nodejs/xterm/lib/"

struct modules {
    struct buf *out;
    const char *prefix; /* "common/" */
};

static void add_module(void *context, int dir_fd, const char *entry)
{
    const struct modules *modules = context;
    cleanup_free char *name = mem_printf("%s%s", modules->prefix, entry);
    cleanup_free char *path = mem_printf(MODULES "%s", name);
    bool is_script = text_ends_with(name, ".js") && !text_ends_with(name, ".test.js");
    struct error ignored = {.code = ERR_NONE};
    struct stat st;
    if (!is_plain(name) || fstatat(dir_fd, entry, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        cleanup_free char *prefix = mem_printf("%s/", name);
        struct modules below = {modules->out, prefix};
        fs_each_entry(path, add_module, &below);
    } else if (is_script) {
        buf_printf(modules->out, "modules[\"%.*s\"] = function (module, exports, require) {\n",
            (int)(strlen(name) - strlen(".js")), name);
        (void)fs_read_regular(path, modules->out, &ignored);
        buf_add_str(modules->out, "\n};\n");
    }
}

int serve_file_read(const char *path, struct buf *out, const char **ret_type, struct error *err)
{
    const char *type = type_of(path);
    if (text_eq(path, "/xterm/modules.js")) {
        size_t before = out->len;
        struct modules modules = {out, ""};
        fs_each_entry(MODULES, add_module, &modules);
        *ret_type = type;
        return out->len > before ? 0 : error_set(err, ERR_USAGE, "xterm.js is not installed");
    }
    for (size_t i = 0; type && i < ARRAY_LEN(libraries); i++) {
        if (!text_starts_with(path, libraries[i].path)) {
            continue;
        }
        const char *name = path + strlen(libraries[i].path);
        cleanup_free char *file = mem_printf("%s%s", libraries[i].directory, name);
        struct error ignored = {.code = ERR_NONE};
        if ((name[0] == '\0' || is_plain(name)) && fs_read_regular(file, out, &ignored) == 0) {
            *ret_type = type;
            return 0;
        }
    }
    return error_set(err, ERR_USAGE, "no file has this name");
}
