"""Losses that are no memory's own: cross-entropies with softened targets, and triplets."""
