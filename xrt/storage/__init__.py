"""Files and folders: whole or absent, hashed, checked before use."""
