/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/image_progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

#define URL "\"url\": \"https://user:secret@x/dir/debian-12-genericcloud.qcow2?token=1\""
#define HALF ", \"phase\": \"downloading\", \"have\": 105000000, \"total\": 210000000"
#define RATE ", \"bytesPerSecond\": 18600000"

static void as_much_is_drawn_as_there_is_room_for(void **state)
{
    static const struct {
        const char *record;
        unsigned columns;
        const char *drawn;
    } rows[] = {
        {URL HALF RATE ", \"vms\": 30", 100,
            "debian-12-genericcloud.qcow2  ██████████░░░░░░░░░░  "
            " 50%  105/210 MB  18.6 MB/s  6s left  for 30 VMs"},
        {URL HALF RATE ", \"vms\": 1", 79,
            "debian-12-…loud.qcow2  ████░░░░   50%  105/210 MB  18.6 MB/s  6s left  for 1 VM"},
        {URL HALF RATE, 60, "debia….qcow2  ████░░░░   50%  105/210 MB  18.6 MB/s  6s left"},
        {URL HALF, 60, "debian-12-…cloud.qcow2  ████░░░░   50%  105/210 MB  0.0 MB/s"},
        {URL ", \"phase\": \"downloading\", \"have\": 5000000, \"total\": -1" RATE, 60,
            "debian-12-genericcloud.qcow2  5 MB  18.6 MB/s"},
        {URL ", \"phase\": \"unpacking\", \"have\": 9, \"total\": 9, \"vms\": 2", 60,
            "debian-12-genericcloud.qcow2  unpacking  for 2 VMs"},
        {"\"path\": \"/srv/a.vmdk\", \"phase\": \"converting\"", 60, "a.vmdk  converting"},
        /* what no vmctld writes */
        {URL ", \"phase\": \"downloading\", \"have\": 9, \"total\": 3", 60,
            "debian-12-genericcloud.qcow2  0 MB  0.0 MB/s"},
        {"\"phase\": 3", 60, "?  working"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_buf struct buf text = BUF_INIT(0), out = BUF_INIT(0);
        buf_printf(&text, "{%s}", rows[i].record);
        cleanup_json json_t *record = json_loads(buf_str(&text), 0, NULL);
        assert_non_null(record);
        image_progress_draw(&out, record, rows[i].columns);
        assert_string_equal(buf_str(&out), rows[i].drawn);
    }
}

static void in_words_it_has_the_same_figures(void **state)
{
    (void)state;
    cleanup_json json_t *record = json_loads("{" URL HALF RATE ", \"vms\": 30}", 0, NULL);
    cleanup_buf struct buf out = BUF_INIT(0);
    image_progress_name(&out, record);
    buf_add_str(&out, ": ");
    image_progress_say(&out, record);
    assert_string_equal(buf_str(&out), "debian-12-genericcloud.qcow2: downloading 50%, 105/210 MB, "
                                       "18.6 MB/s, 6s left, for 30 VMs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_much_is_drawn_as_there_is_room_for),
        cmocka_unit_test(in_words_it_has_the_same_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
