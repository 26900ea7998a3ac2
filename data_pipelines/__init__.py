"""From audio on disk to batches: manifests, the schedule and its feeders."""
