"""How good is a network: retrieval with identities, and scores that need no labels."""
