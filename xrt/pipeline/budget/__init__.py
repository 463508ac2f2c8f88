"""`budget=30m`: what a given time is spent on."""
