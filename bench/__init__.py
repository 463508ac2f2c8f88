"""Benchmarks of xrt beside its peers: `python -m bench` lists the suites.

This package imports nothing by itself: parts of it run in interpreters that have a peer, not xrt.
"""
