"""Worked uses on top of the estimators."""
