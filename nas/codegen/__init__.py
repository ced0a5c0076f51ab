"""Code generation: the graph of a network printed as PyTorch (`source`)."""
