"""Audio files: headers, samples, canonical copies."""
