/* SPDX-License-Identifier: MPL-2.0 */
#include "store/source/source_stamp.h"

#include <errno.h>
#include <sys/stat.h>

#include "specs/base/buf.h"
#include "specs/base/clock.h"
#include "specs/base/strings.h"
#include "specs/base/user_path.h"

/* A file changed this recently may change again without a new time: times move with the kernel's
 * tick, at worst by the second or two of old file systems. */
enum { UNSETTLED_S = 2 };

/* True when the file's times are old enough to distinguish the next change from this one. */
static bool add_stamp(struct buf *out, const char *path, int64_t now_s)
{
    struct stat st;
    if (user_path_stat(path, &st) < 0) {
        buf_printf(out, "%s\n-%d\n", path, errno);
        return true;
    }
    buf_printf(out, "%s\n%llu %lld %lld.%09ld %lld.%09ld\n", path, (unsigned long long)st.st_ino,
        (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
        (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return st.st_mtim.tv_sec < now_s - UNSETTLED_S && st.st_ctim.tv_sec < now_s - UNSETTLED_S;
}

void source_stamp(const char *path, const struct strings *named, char *ret_stamp)
{
    cleanup_buf struct buf all = BUF_INIT(0);
    int64_t now_s = clock_wall_ms(clock_system()) / 1000;
    bool is_settled = add_stamp(&all, path, now_s);
    for (size_t i = 0; i < named->count; i++) {
        is_settled = add_stamp(&all, named->items[i], now_s) && is_settled;
    }
    ret_stamp[0] = '\0';
    if (is_settled) {
        digest_text(buf_str(&all), ret_stamp);
    }
}
