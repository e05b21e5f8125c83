/* SPDX-License-Identifier: MPL-2.0 */
/* Runs a fuzz target over every file of its corpus, with any compiler: argv[1] is the directory. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    cleanup_buf struct buf input = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    if (fs_read_file(path, &input, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    return LLVMFuzzerTestOneInput((const uint8_t *)buf_str(&input), input.len);
}

int main(int argc, char **argv)
{
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
        return 2;
    }
    int files = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        cleanup_free char *path = fs_join(argv[1], entry->d_name);
        if (entry->d_type == DT_REG) {
            if (replay(path) < 0) {
                return 1;
            }
            files++;
        }
    }
    closedir(dir);
    printf("%d inputs replayed\n", files);
    return files > 0 ? 0 : 1;
}
