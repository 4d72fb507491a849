"""Memory banks: what a method compares a batch with. One file a family."""
