"""Product attributes: one value, or none, for each of several attributes of a catalogue's rows."""
