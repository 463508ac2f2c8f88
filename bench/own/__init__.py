"""xrt's side of the suites that time each system in a process of its own."""
