/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/file_stamp.h"

#include <stdio.h>
#include <sys/stat.h>

#include "specs/base/user_path.h"

bool file_stamp(const char *path, char ret_id[DIGEST_SIZE])
{
    struct stat st;
    if (user_path_stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    char text[128];
    (void)snprintf(text, sizeof(text), "inode %llu size %lld mtime %lld.%09ld",
        (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
        st.st_mtim.tv_nsec);
    digest_text(text, ret_id);
    return true;
}
