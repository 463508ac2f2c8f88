"""What speaks for or against a label of a row."""
