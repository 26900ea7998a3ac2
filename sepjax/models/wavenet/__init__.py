"""Wavenet for source separation."""
