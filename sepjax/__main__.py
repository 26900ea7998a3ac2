"""``python -m sepjax``: the ``sepjax`` command."""

import sys

from sepjax.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
