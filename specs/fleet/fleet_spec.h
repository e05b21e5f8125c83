/* SPDX-License-Identifier: MPL-2.0 */
/* What a VM of the fleet cannot have. */
#pragma once

struct vm_desired;
struct vm_spec;

/*
 * The path, or the secret, of a VM that does not go along with its spec: of a file that is not the
 * fleet's (fleet_files.h), of a key. NULL: there is none. The command refuses such a VM, and so
 * does its node, whose own file of that path would be read, or whose command would be run, as
 * another host says.
 */
const char *fleet_spec_file(const struct vm_spec *spec);

/* What keeps a VM on its host besides its disk: "volume 'data'", "folder '/srv/www'". NULL:
 * nothing. free() it. */
char *fleet_spec_bond(const struct vm_desired *desired);
