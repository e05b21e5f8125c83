/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a guest's console tells about a login that is refused: cloud-init prints its complaints
 * there, whom it gave keys, and that it is through. Only words for people are made of it, and when
 * to stop waiting for a port that nothing listens on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct console_words {
    bool is_through;     /* cloud-init said that it has finished, in the newest boot */
    char complaint[240]; /* its first complaint, "" none */
    char users[120];     /* "'debian', 'root'": those it set keys up for, "" none */
};

/* Pure. The text of several boots may stand there; the newest begins at its last "Linux version".
 */
void console_words_find(const char *text, size_t n, struct console_words *ret);

/* The same of the end of a file; nothing when it cannot be read. */
void console_words_read(const char *path, struct console_words *ret);

/* Appends what explains that `user` was refused, as "; …", nothing when nothing does. */
void console_words_explain(const struct console_words *words, const char *user, struct buf *out);
