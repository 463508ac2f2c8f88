"""N-grams of words and characters, counted in compiled code."""
