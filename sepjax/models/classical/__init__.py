"""Systems of the time before networks: medians, repetitions, factorizations."""
