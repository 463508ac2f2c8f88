"""Applies accepted suggestions to a copy of the file."""
