"""Designs: searchers that plan samples for a comparison instead of looking for the best network."""
