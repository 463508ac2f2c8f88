"""Evidence of the words of a query."""
