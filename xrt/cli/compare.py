"""`xrt compare`: finished runs side by side, best first."""

import argparse
from pathlib import Path


def compare(arguments: argparse.Namespace) -> int:
    """Print the table of runs, and write the page where one is asked for.

    Args:
        arguments: What `xrt compare` was called with.

    Returns:
        0.
    """
    from xrt.pipeline.comparison import compare_table, read_runs, write_comparison

    runs = read_runs([Path(folder) for folder in arguments.runs])
    print(compare_table(runs))
    if arguments.html is not None:
        print(f"\npage: {write_comparison(runs, Path(arguments.html))}")
    return 0
