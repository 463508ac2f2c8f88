"""The command line: `xrt train | predict | explain | evaluate | inspect | report | serve`, and
applications' own.

This module imports nothing heavy, so that `xrt --help` and a misspelt option answer at once; each
command imports what it needs when it runs. Faults of the user end in one line and exit code 2.
"""

import sys
from collections.abc import Sequence

from xrt.applications import application_commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words behind `xrt`; None takes those of the process.

    Returns:
        The exit code: 0 good, 2 a fault of the input, 1 a fault of xrt; see `xrt.cli.ending`.
    """
    from xrt.cli.ending import run_to_end
    from xrt.processors import share_processors
    from xrt.threads import default_num_threads

    share_processors(default_num_threads())
    return run_to_end(list(sys.argv[1:] if argv is None else argv), _dispatch)


def _dispatch(argv: list[str]) -> int:
    # Lightning's subprocess launcher repeats the settings without the word `train`
    if argv and (argv[0] == "train" or ("=" in argv[0] and not argv[0].startswith("-"))):
        from xrt.cli.train import run

        return run(argv[1:] if argv[0] == "train" else argv)
    for command in application_commands():
        if argv and argv[0] == command.name:
            return command.run(argv[1:])
    from xrt.cli.parsers import main_parser

    arguments = main_parser().parse_args(argv)
    if arguments.command == "predict":
        from xrt.cli.prediction import predict

        return predict(arguments)
    if arguments.command == "explain":
        from xrt.cli.explanation import explain

        return explain(arguments)
    if arguments.command == "compare":
        from xrt.cli.compare import compare

        return compare(arguments)
    if arguments.command == "sweep":
        from xrt.cli.sweep import sweep

        return sweep(arguments)
    if arguments.command == "report":
        from xrt.cli.report import report

        return report(arguments)
    if arguments.command == "serve":
        from xrt.cli.serving import serve

        return serve(arguments)
    from xrt.cli import inspection

    return {"evaluate": inspection.evaluate, "inspect": inspection.inspect}[arguments.command](
        arguments
    )
