"""Suspected labels, as records with their evidence."""
