"""The hierarchical label tree: growing it, candidates of a level, scores along a path."""
