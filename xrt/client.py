"""A client of `xrt serve`."""
