/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/kept_files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/strings.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_spec.h"
#include "store/store.h"

#define KEPT_S (24 * 3600)

static bool is_there(const char *path, unsigned mode, struct bytes bytes)
{
    struct stat st;
    struct error ignored = {.code = ERR_NONE};
    cleanup_buf struct buf present = BUF_INIT(bytes.n + 1);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == mode &&
           (size_t)st.st_size == bytes.n && fs_read_regular(path, &present, &ignored) == 0 &&
           present.len == bytes.n && memcmp(buf_str(&present), bytes.data, bytes.n) == 0;
}

int kept_file_write(
    const char *dir, const char *name, unsigned mode, struct bytes bytes, struct error *err)
{
    cleanup_free char *path = fs_join(dir, name);
    cleanup_free char *parent = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
    int rc = fs_make_dirs(parent, 0700, err);
    if (rc == 0 && is_there(path, mode, bytes)) {
        (void)utimensat(AT_FDCWD, parent, NULL, 0); /* it was sent now */
        return 0;
    }
    return rc < 0 ? rc : fs_write_file(path, bytes.data, bytes.n, mode, err);
}

static void note_old(void *context, int dir_fd, const char *name)
{
    struct strings *old = context;
    struct stat st;
    int64_t now_s = clock_wall_ms(clock_system()) / 1000;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_mtim.tv_sec + KEPT_S < now_s) {
        strings_append(old, name);
    }
}

/* Its name is of hexadecimal digits, which JSON has as they are. */
static bool is_named(const struct vm_list *vms, const char *old)
{
    for (size_t i = 0; i < vms->count; i++) {
        const struct vm_desired *desired = vms->records[i].desired;
        cleanup_json json_t *spec = desired ? vm_spec_to_json(desired->spec) : NULL;
        cleanup_free char *text = spec ? json_dumps(spec, JSON_COMPACT) : NULL;
        if (!text || strstr(text, old)) { /* what a damaged record names is not known */
            return true;
        }
    }
    return false;
}

void kept_files_sweep(const struct paths *paths, struct store *store, const char *within)
{
    struct error ignored = {.code = ERR_NONE};
    struct vm_list vms = {.count = 0};
    cleanup_with(strings_clear) struct strings old = {.count = 0};
    const char *slash = strrchr(within, '/'), *folder = slash ? slash + 1 : within;
    fs_each_beneath(paths->data_dir, within, note_old, &old);
    bool can_see = old.count > 0 && store_list(store, &vms, &ignored) == 0;
    for (size_t i = 0; can_see && i < old.count; i++) {
        cleanup_free char *named = mem_printf("%s/%s", folder, old.items[i]);
        if (!is_named(&vms, named)) {
            (void)fs_remove_beneath(paths->data_dir, within, old.items[i], &ignored);
        }
    }
    vm_list_clear(&vms);
}
