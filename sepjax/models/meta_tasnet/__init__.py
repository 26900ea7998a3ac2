"""Meta-TasNet."""
