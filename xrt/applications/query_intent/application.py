"""The application `query_intent`: clicks and a catalogue become a corpus of labelled queries."""

import argparse
from collections.abc import Sequence

from xrt.applications.application import Application, Command


def _run(argv: Sequence[str]) -> int:
    from xrt.applications.query_intent.commands import label, label_parser

    return label(label_parser().parse_args(argv))


def _parser(command: str) -> argparse.ArgumentParser:
    from xrt.applications.query_intent.commands import label_parser

    return label_parser()


class QueryIntentApplication(Application):
    """`xrt label`."""

    name = "query_intent"
    commands = (
        Command(
            name="label",
            help="clicks and a catalogue in, labelled queries out",
            run=_run,
            parser=_parser,
            option_names={
                "text_columns": "title_columns",
                "label_column": "label_columns",
                "label_names": "names",
            },
        ),
    )


APPLICATION = QueryIntentApplication()
