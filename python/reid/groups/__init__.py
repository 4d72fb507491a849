"""Groups of pictures of one identity, found among features, and their names over time."""
