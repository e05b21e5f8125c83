/* SPDX-License-Identifier: MPL-2.0 */
/* Image URLs as text (RFC 3986). Pure. */
#pragma once

#include <stdbool.h>

/* For messages: without user name and password, and with its query cut (signed URLs carry secrets
 * there). free() it. */
char *url_for_people(const char *url);

/* The part that has a file's name: without query and fragment. free() it. */
char *url_without_query(const char *url);

/* Absolute path of a file: URL (RFC 8089; host empty or "localhost"), percent-decoded; NULL when it
 * is none or a malformed one. free() it. */
char *url_file_path(const char *url);
bool url_is_file(const char *url);
