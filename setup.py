"""The door of older tools: everything that setuptools reads is in pyproject.toml."""

from setuptools import setup

setup()
