/* SPDX-License-Identifier: MPL-2.0 */
/* The text of --help: no line is wider than the terminal, or than 80 columns where there is none.
 */
#pragma once

struct buf;

/* Appends a text whose words are not arranged in columns: the lines of a paragraph become one,
 * which help_text_print() breaks. Lines that begin with a blank stay lines. */
void help_text_add_prose(struct buf *out, const char *text);

/* To stdout. A line that is wider is broken at a blank and continued under its second column, which
 * two blanks separate from the first; without columns, under its own beginning. */
void help_text_print(const char *text);

/* The same for so many columns. A word that is longer stays whole. Pure. */
void help_text_fold(struct buf *out, const char *text, unsigned columns);
