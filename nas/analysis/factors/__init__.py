"""Importance of factors: functional ANOVA, PED-ANOVA, motifs and their surrogate."""
