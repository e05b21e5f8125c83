/* SPDX-License-Identifier: MPL-2.0 */
/* The parser: nodes, entries and blocks from tokens. */
#pragma once

#include "specs/kdl/kdl_value.h"

/* Reads the text of `scanner` up to its end into `doc`, whose memory is reader->arena. False after
 * an error. No limit is 0. */
bool kdl_parse_nodes(const struct kdl_reader *reader, const struct kdl_scanner *scanner,
    const struct kdl_limits *limits, struct kdl_document *doc);
