"""Score a folder of estimates against a folder of references."""
