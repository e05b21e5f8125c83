/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/table.h"

#include <stdlib.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

enum { GAP = 3 };

void table_init(struct table *table, size_t n_columns)
{
    *table = (struct table){.n_columns = n_columns};
    table->widths = mem_calloc(n_columns, sizeof(*table->widths));
}

void table_widen(struct table *table, size_t column, size_t width)
{
    table->widths[column] = width > table->widths[column] ? width : table->widths[column];
}

void table_empty(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(TAKE_PTR(table->cells));
    table->count = 0;
}

void table_clear(struct table *table)
{
    table_empty(table);
    free(TAKE_PTR(table->widths));
}

void table_add(struct table *table, const char *text)
{
    mem_grow(table->cells, table->count);
    table->cells[table->count++] = mem_strdup(text);
}

void table_add_number(struct table *table, unsigned long long number)
{
    cleanup_free char *text = mem_printf("%llu", number);
    table_add(table, text);
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

void table_print(struct table *table, struct buf *out)
{
    for (size_t i = 0; i < table->count; i++) {
        table_widen(table, i % table->n_columns, width_of(table->cells[i]));
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->n_columns;
        buf_add_str(out, table->cells[i]);
        if (column + 1 == table->n_columns) {
            while (out->len > 0 && out->data[out->len - 1] == ' ') { /* of an empty last cell */
                out->data[--out->len] = '\0';
            }
            buf_add_char(out, '\n');
        } else {
            int blanks = (int)(table->widths[column] + GAP - width_of(table->cells[i]));
            buf_printf(out, "%*s", blanks, "");
        }
    }
}
