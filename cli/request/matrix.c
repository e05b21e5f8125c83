/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

static int take_axis(const char *option, struct matrix *matrix, struct error *err)
{
    const char *equals = strchr(option, '=');
    if (!equals || equals == option || !equals[1]) {
        (void)error_set(err, ERR_USAGE, "--matrix '%s' has no values", option);
        return error_help(err, "write --matrix NAME=VALUE,VALUE for a variable of the VMFile, or "
                               "--matrix vm.NAME.FIELD=VALUE,VALUE");
    }
    mem_grow(matrix->axes, matrix->n);
    struct matrix_axis *axis = &matrix->axes[matrix->n++];
    *axis = (struct matrix_axis){.name = mem_strndup(option, (size_t)(equals - option))};
    for (const char *at = equals + 1; at; at = *at ? at + 1 : NULL) {
        size_t n = strcspn(at, ",");
        cleanup_free char *value = mem_strndup(at, n);
        if (strings_have(&axis->values, value)) {
            return error_set(
                err, ERR_USAGE, "--matrix '%s' has the value '%s' twice", option, value);
        }
        strings_append(&axis->values, value);
        at += n;
    }
    return 0;
}

int matrix_parse(const struct arg_strings *options, struct matrix *ret, struct error *err)
{
    for (size_t i = 0; i < options->count; i++) {
        int rc = take_axis(options->items[i], ret, err);
        if (rc < 0) {
            return rc;
        }
        if (matrix_count(ret) > MATRIX_MAX) {
            return error_set(err, ERR_USAGE, "--matrix has more than %d combinations", MATRIX_MAX);
        }
    }
    return 0;
}

void matrix_clear(struct matrix *matrix)
{
    for (size_t i = 0; i < matrix->n; i++) {
        free(matrix->axes[i].name);
        strings_clear(&matrix->axes[i].values);
    }
    free(matrix->axes);
    *matrix = (struct matrix){.n = 0};
}

size_t matrix_count(const struct matrix *matrix)
{
    size_t count = 1;
    for (size_t i = 0; i < matrix->n; i++) {
        count *= matrix->axes[i].values.count;
    }
    return count;
}

void matrix_choose(const struct matrix *matrix, size_t index, struct strings *ret)
{
    size_t left = matrix_count(matrix);
    for (size_t i = 0; i < matrix->n; i++) {
        const struct matrix_axis *axis = &matrix->axes[i];
        left /= axis->values.count;
        cleanup_free char *set =
            mem_printf("%s=%s", axis->name, axis->values.items[index / left % axis->values.count]);
        strings_append(ret, set);
    }
}
