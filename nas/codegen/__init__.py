"""Code generation: prints the graph of a network as PyTorch source."""
