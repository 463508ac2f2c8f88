"""The application `audit`: labels that look wrong or missing."""

import argparse
from collections.abc import Sequence

from xrt.applications.application import Application, Command


def _run(argv: Sequence[str]) -> int:
    from xrt.applications.audit.commands import run

    return run(argv)


def _parser(command: str) -> argparse.ArgumentParser:
    from xrt.applications.audit.commands import parser_of

    return parser_of(command)


class AuditApplication(Application):
    """`xrt audit` and `xrt audit apply`."""

    name = "audit"
    commands = (
        Command(
            name="audit",
            help="labels that look wrong or missing; audit apply changes them",
            run=_run,
            parser=_parser,
            parts=("audit apply",),
            option_names={"label_column": "label_columns", "label_names": "labels"},
        ),
    )


APPLICATION = AuditApplication()
