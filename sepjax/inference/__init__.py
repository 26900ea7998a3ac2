"""Separation of recordings of any length."""
