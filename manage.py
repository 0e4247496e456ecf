#!/usr/bin/env python
"""Django's command line. On a developer's machine it also creates the local keys that are missing."""

import os
import sys

from voicelens.local_keys import ensure_local_keys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voicelens.settings")
    ensure_local_keys()
    from django.core.management import execute_from_command_line

    from apps.history.author import name_process

    name_process(" ".join(["manage.py", *sys.argv[1:2]]))

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
