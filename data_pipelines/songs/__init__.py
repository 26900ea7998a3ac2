"""Folders of songs with stems, and the music in the box."""
