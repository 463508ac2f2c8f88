"""Figures of a catalogue model, by attribute and by item."""
