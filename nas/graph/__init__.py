"""Graph of primitives: shapes, costs and identity of a network."""
