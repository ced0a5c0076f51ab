"""The training of one network: loop, recipe, augmentation, checkpoints, memory, latency."""
