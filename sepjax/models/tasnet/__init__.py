"""Conv-TasNet, its encodings and its relatives."""
