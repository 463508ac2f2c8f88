"""One module a suite: `main()` runs it with the arguments of the command line."""
