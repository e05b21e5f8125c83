# SPDX-License-Identifier: MPL-2.0
"""Gives a user-data to cloud-init's own code, as far as that goes without a boot.

  cloud_init_users.py PACKAGES ROOT USER-DATA

PACKAGES holds the package `cloudinit`. Its schema must accept USER-DATA, and its module for users and
groups, on Debian, makes them in ROOT/etc by the real groupadd, useradd and usermod. Prints a line for
each user: name, groups, who owns the home, the locked password, sudo rule, keys. Ends with 1 at the
first complaint, be it only a warning.
"""
import logging
import os
import sys

PACKAGES, ROOT, USER_DATA = sys.argv[1:]
sys.path.insert(0, PACKAGES)

import yaml  # noqa: E402
from cloudinit import distros, helpers, ssh_util, subp, util  # noqa: E402
from cloudinit.config import cc_users_groups, schema  # noqa: E402

ACCOUNTS = {"groupadd", "useradd", "usermod"}
keys_of = {}
real_subp = subp.subp


def table(name):
    with open(f"{ROOT}/etc/{name}", encoding="utf-8") as file:
        return [line.rstrip("\n").split(":") for line in file]


def has(name, entry):
    return any(row[0] == entry for row in table(name))


def run_in_root(args, *rest, **options):
    """The programs that change accounts work on ROOT; what else is run has no meaning there."""
    if args[0] in ACCOUNTS:
        args = [args[0], "--prefix", ROOT, *args[1:]]
    elif args[0] == "passwd" and args[1] == "-l":
        args = ["usermod", "--prefix", ROOT, "--lock", args[2]]
    else:
        raise AssertionError(f"cloud-init runs {args}")
    return real_subp(args, *rest, **{k: v for k, v in options.items() if k != "logstring"})


class Complaints(logging.Handler):
    def __init__(self):
        super().__init__(level=logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class Cloud:
    """What the module asks of a cloud."""

    def __init__(self, distro):
        self.distro = distro

    @staticmethod
    def get_public_ssh_keys():
        return []


def tell(user):
    entry = next(row for row in table("passwd") if row[0] == user)
    group = next(row[0] for row in table("group") if row[2] == entry[3])
    shadow = next(row for row in table("shadow") if row[0] == user)
    home = os.stat(ROOT + entry[5])
    owner = "own" if (str(home.st_uid), str(home.st_gid)) == (entry[2], entry[3]) else "foreign"
    with open(f"{ROOT}/sudoers", encoding="utf-8") as file:
        rules = [line.strip() for line in file if line.startswith(user + " ")]
    print(f"{user}: group {group}, {owner} home, shell {entry[6]},"
          f" {'locked' if shadow[1].startswith('!') else 'open'}, {'; '.join(rules)},"
          f" {len(keys_of.get(user, ()))} keys")


def main():
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    with open(USER_DATA, "rb") as file:
        text = file.read()
    config = yaml.safe_load(text)
    users = [user["name"] for user in config["users"]]
    schema.validate_cloudconfig_schema(config, schema.get_schema(), strict=True)

    subp.subp = run_in_root
    util.system_is_snappy = lambda: False  # it asks about this host
    util.is_user = lambda name: has("passwd", name)
    util.is_group = lambda name: has("group", name)
    ssh_util.setup_user_keys = lambda keys, user, options=None: keys_of.update({user: keys})
    paths = helpers.Paths({"cloud_dir": ROOT, "run_dir": ROOT})
    distro = distros.fetch("debian")("debian", {"default_user": {"name": "debian"}}, paths)
    distro.ci_sudoers_fn = f"{ROOT}/sudoers"
    distro.ensure_sudo_dir = lambda *_, **__: None
    arguments = [config, Cloud(distro), logging.getLogger("users"), []]
    if "log" not in cc_users_groups.handle.__code__.co_varnames[:4]:
        del arguments[2]
    cc_users_groups.handle("users-groups", *arguments)
    for user in users:
        tell(user)
    if complaints.lines:
        sys.exit("cloud-init complains: " + "; ".join(complaints.lines))


main()
