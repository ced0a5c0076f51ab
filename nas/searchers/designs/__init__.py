"""Designs: searchers that plan a sample to compare module types instead of looking for the best network."""
