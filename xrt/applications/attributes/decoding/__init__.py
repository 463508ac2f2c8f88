"""From scores of labels to one value of each attribute."""
