"""Routes of the server, a file for each group."""
