"""`python -m vcp`: the protocol on the command line; see `vcp.cli`."""

import sys

from vcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
