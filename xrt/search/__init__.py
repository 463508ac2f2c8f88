"""From features to suggestions: beam search down the tree, fused scores."""
