# SPDX-License-Identifier: MPL-2.0
"""Gives a user-data of several parts to cloud-init's own code, which takes it apart and merges it.

  cloud_init_parts.py PACKAGES SCRATCH USER-DATA

PACKAGES holds the package `cloudinit`. Prints the merged cloud-config as cloud-init would carry it
out, and each other part as a line `# TYPE: 'ITS TEXT'` before it. Ends with 1 at the first complaint.
"""
import json
import logging
import os
import sys

PACKAGES, SCRATCH, USER_DATA = sys.argv[1:]
sys.path.insert(0, PACKAGES)

from cloudinit import handlers, helpers, user_data  # noqa: E402
from cloudinit.handlers.cloud_config import CloudConfigPartHandler  # noqa: E402
from cloudinit.handlers.jinja_template import JinjaTemplatePartHandler  # noqa: E402


class Complaints(logging.Handler):
    def __init__(self):
        super().__init__(level=logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def main():
    complaints = Complaints()
    paths = helpers.Paths({"cloud_dir": SCRATCH, "run_dir": SCRATCH})
    with open(paths.get_runpath("instance_data_sensitive"), "w", encoding="utf-8") as file:
        json.dump({"v1": {"local_hostname": "from-jinja"}}, file)
    config = CloudConfigPartHandler(paths)  # complains that no instance is there
    logging.getLogger().addHandler(complaints)
    config.cloud_fn = os.path.join(SCRATCH, "merged")
    jinja = JinjaTemplatePartHandler(paths, sub_handlers=[config])

    def take(_data, filename, payload, headers):
        content_type = headers["Content-Type"]
        for handler in (config, jinja):
            if content_type in handler.list_types():
                handler.handle_part(None, content_type, filename, payload, None, headers)
                return
        print(f"# {content_type}: {payload!r}")

    with open(USER_DATA, "rb") as file:
        message = user_data.UserDataProcessor(paths).process(file.read())
    config.handle_part(None, handlers.CONTENT_START, None, None, None, None)
    handlers.walk(message, take, None)
    config.handle_part(None, handlers.CONTENT_END, None, None, None, None)
    with open(config.cloud_fn, encoding="utf-8") as file:
        print(file.read())
    if complaints.lines:
        sys.exit("cloud-init complains: " + "; ".join(complaints.lines))


main()
