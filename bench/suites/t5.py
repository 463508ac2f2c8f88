"""A T5 or ByT5 that writes the attribute values of catalogue items as text."""

from bench.peers.t5.run import main

__all__ = ["main"]
