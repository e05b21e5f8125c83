/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/junit.h"

#include <inttypes.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"

/* XML 1.0, 2.2: of the controls only tab and the ends of lines are characters, and those an
 * attribute would lose. */
static void add_attribute(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, " %s=\"", name);
    for (const char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        const char *entity = *at == '&'    ? "&amp;"
                             : *at == '<'  ? "&lt;"
                             : *at == '>'  ? "&gt;"
                             : *at == '"'  ? "&quot;"
                             : *at == '\n' ? "&#10;"
                             : *at == '\t' ? "&#9;"
                                           : NULL;
        if (entity) {
            buf_add_str(out, entity);
        } else {
            buf_add_char(out, byte < 0x20 ? '?' : *at);
        }
    }
    buf_add_char(out, '"');
}

static void add_seconds(struct buf *out, int64_t ms)
{
    int64_t known = ms > 0 ? ms : 0; /* the clock may have been set back */
    buf_printf(out, " time=\"%" PRId64 ".%03d\"", known / 1000, (int)(known % 1000));
}

void junit_add(struct junit_suite *suite, const struct junit_case *result)
{
    struct buf *out = &suite->cases;
    suite->n++;
    suite->n_failed += result->result == JUNIT_FAILED;
    suite->n_errors += result->result == JUNIT_ERROR;
    suite->total_ms += result->took_ms > 0 ? result->took_ms : 0;
    buf_add_str(out, "    <testcase");
    add_attribute(out, "classname", suite->name);
    add_attribute(out, "name", result->name);
    add_seconds(out, result->took_ms);
    if (result->result == JUNIT_PASSED) {
        buf_add_str(out, "/>\n");
        return;
    }
    buf_printf(out, ">\n      <%s", result->result == JUNIT_FAILED ? "failure" : "error");
    add_attribute(out, "message", result->message ? result->message : "");
    buf_add_str(out, "/>\n    </testcase>\n");
}

void junit_end_suite(struct buf *out, struct junit_suite *suite)
{
    buf_add_str(out, "  <testsuite");
    add_attribute(out, "name", suite->name);
    buf_printf(out, " tests=\"%u\" failures=\"%u\" errors=\"%u\"", suite->n, suite->n_failed,
        suite->n_errors);
    add_seconds(out, suite->total_ms);
    buf_printf(out, ">\n%s  </testsuite>\n", buf_str(&suite->cases));
    buf_clear(&suite->cases);
    *suite = (struct junit_suite){.name = suite->name};
}

int junit_write(const char *path, const struct buf *suites, struct error *err)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    buf_printf(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n%s</testsuites>\n",
        suites->len > 0 ? buf_str(suites) : "");
    return fs_write_file(path, out.data, out.len, 0644, err);
}
