/* SPDX-License-Identifier: MPL-2.0 */
/* URLs as text (RFC 3986). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* For all that is printed or logged: omits the user name, the password, the query and the fragment,
 * in which URLs have secrets. What is no URL stays as it is. free() it. */
char *url_for_people(const char *url);

/* Marks the bytes of a text that may be secrets of the URLs in it: what is before the '@' of a
 * host, queries, fragments. `marks`: `size` of them, all false before. False: there are none. */
bool url_mark_secrets(const char *text, size_t size, bool *marks);
/* Puts "***" for each of them, which makes no text longer. */
void url_mask(char *text);

/* The URL without query and fragment, which ends in the file's name. free() it. */
char *url_without_query(const char *url);

/* Its host, without user and port; that of an IPv6 address with its brackets. free() it. */
char *url_host(const char *url);

/* What it is called in one word: the last component of its path. A path will do, too. free() it. */
char *url_last_component(const char *url);

/* Absolute path of a file: URL (RFC 8089; host empty or "localhost"), percent-decoded; NULL: not a
 * file: URL, or malformed. free() it. */
char *url_file_path(const char *url);
bool url_is_file(const char *url);
