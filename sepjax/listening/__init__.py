"""Blind listening tests: excerpts, trials and their key, ratings of listeners."""
