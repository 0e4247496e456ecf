"""A Chromium for the browser tests: `python -m tests.chromium` finds one or installs it.

Debian's and Ubuntu's by apt-get where this user may, else Playwright's own download. CHROMIUM names another one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# Without these a headless browser in a container or as root does not start, or talks to its maker.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def find() -> str | None:
    """The path of a browser, or None where there is none yet."""
    named = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    return named or _of_playwright()


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Raises CalledProcessError where it cannot be had."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
            check=True,
            env=quiet,
            stdout=subprocess.DEVNULL,
        )
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


def main() -> int:
    if find() is None:
        sys.stdout.write("Installing a Chromium for the browser tests\n")
        try:
            install()
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"no Chromium could be installed ({error}); install one, or name one in CHROMIUM\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
