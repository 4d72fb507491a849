"""Unsupervised re-identification on PyTorch: pseudo labels from clusters, training on them, evaluation, reports."""
