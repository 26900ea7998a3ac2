"""``sepjax models``: all that separates without training."""

import argparse
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    text = "every fact, for other programs"
    parser.add_argument("--json", action="store_true", help=text)


def list_models(arguments: argparse.Namespace) -> int:
    """Print the released models and the systems that learn nothing."""
    from sepjax.models.releases import ready_facts, ready_table
    from sepjax.storage import to_json

    print(to_json(ready_facts()) if arguments.json else ready_table())
    return 0


class ListModels(argparse.Action):
    """An option that prints the same table and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> None:
        """Print the table; the rest of the command line is not looked at."""
        list_models(argparse.Namespace(json=False))
        parser.exit()
