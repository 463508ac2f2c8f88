"""From features to suggestions: beam search down the tree, a FAISS shortlist to open it, fused
scores.
"""
