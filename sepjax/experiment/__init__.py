"""Many runs at once: sweeps over the devices of a machine, or the jobs of a cluster."""
