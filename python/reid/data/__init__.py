"""Data: which pictures there are (records, readers), their pixels (pictures, transforms), samplers.

Nothing is imported here: ``reid.data.records`` and ``reid.data.readers`` must stay usable without torch.
"""
