"""One-vs-rest linear models on [sparse | dense] rows, one level of the label tree at a time."""
