"""Compiled kernels of training and beam search."""
