"""The user's files are imported by the commands of the test, not by pytest."""

collect_ignore = ["my_parts.py", "my_experiment.py"]
