"""A run's network for others: weights, a model card, and ONNX."""
