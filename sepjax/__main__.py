"""``python -m sepjax``: the ``sepjax`` command."""

import os
import sys

from sepjax.commands.cli import main

if __name__ == "__main__":
    # ``-m`` puts the current folder first: what lies there is data, not modules.
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    sys.exit(main())
