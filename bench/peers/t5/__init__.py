"""A T5 or ByT5 that writes the attribute values of catalogue items as text."""
