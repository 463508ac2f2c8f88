"""Out-of-fold scores of the given labels and the best others."""
