"""The subcommands of ``sepjax``: options and calls only."""
