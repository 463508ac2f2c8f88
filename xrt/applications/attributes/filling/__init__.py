"""Fills the missing cells of a catalogue file."""
