"""The transformer: tokens, batches, heads, loss, and training level by level down the label
tree.
"""
