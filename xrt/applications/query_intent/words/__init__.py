"""What the words of a query say of its labels."""
