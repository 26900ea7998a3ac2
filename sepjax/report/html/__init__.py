"""Markup, players and pictures of self-contained pages."""
