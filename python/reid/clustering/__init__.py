"""Pseudo labels: what methods that cluster share."""
