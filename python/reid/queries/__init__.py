"""Search: the pictures nearest to a query, and how far to believe them."""
