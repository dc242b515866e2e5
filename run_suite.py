"""The command line, run from a checkout: `python run_suite.py --help`."""

from __future__ import annotations

import sys

from suite.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
