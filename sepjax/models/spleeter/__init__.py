"""Spleeter: U-Nets on magnitudes."""
