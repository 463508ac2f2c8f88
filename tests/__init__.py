"""The tests, in the folders of what they test; `reference` holds the slow twins of kernels."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
