"""SCNet: bands of a spectrum, each compressed by its own stride."""
