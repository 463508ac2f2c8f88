"""How the scores of the sources become one probability a label."""
