"""`xrt serve`: saved models behind HTTP. Needs the extra `serve`."""
