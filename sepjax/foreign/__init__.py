"""Files of other frameworks, read without them and trusted with nothing."""
