"""`xrt report`: a run, or a model, as a summary in the terminal and a page."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from xrt.applications import owner_of
from xrt.cli.inspection import reading_arguments
from xrt.errors import ConfigError


def report(arguments: argparse.Namespace) -> int:
    """Print the summary, write the page and print its path; the exit code.

    Args:
        arguments: What `xrt report` was called with.

    Returns:
        0.

    Raises:
        ConfigError: `--test` with a model of attributes, or reading arguments without `--test`.
        DataError: There is no report to be had, or the test file cannot be used.
        ArtifactError: The report or the model is damaged.
    """
    from rich.console import Console

    from xrt.pipeline.report_content import MODEL, read_report
    from xrt.pipeline.report_page import write_run_page
    from xrt.pipeline.report_text import print_report
    from xrt.progress import RichProgress

    reading = reading_arguments(arguments)
    if reading and arguments.test is None:
        raise ConfigError(
            f"{', '.join(reading)}: how a test file is read, but none is named; add --test FILE"
        )
    told, page = read_report(arguments.path)
    if arguments.test is not None:
        from xrt.pipeline.report_on_file import report_on_file

        folder = Path(arguments.path)
        model = folder if (folder / "manifest.json").is_file() else folder / MODEL
        if owner_of(str(model)) is not None:
            raise ConfigError(
                f"{model}: a model of this kind is measured by xrt evaluate {model} FILE; leave "
                "the test file out here"
            )
        told = report_on_file(told, model, arguments.test, RichProgress(), reading)
        page = page.with_name(f"{page.stem}-{Path(arguments.test).stem}.html")
    if arguments.no_examples:
        told = replace(told, examples=None)
    written = write_run_page(told, Path(arguments.out) if arguments.out else page)
    console = Console(file=sys.stdout, highlight=False, soft_wrap=False)
    print_report(told, console)
    print(f"\npage: {written}")
    return 0
