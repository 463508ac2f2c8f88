"""Catalogues: their columns, cells, schema and label space."""
