"""Demucs v1."""
