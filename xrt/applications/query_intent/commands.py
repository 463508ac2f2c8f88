"""`xrt label`: clicks and a catalogue in, a training corpus of queries with soft labels out."""

import argparse
import sys
from pathlib import Path

from xrt.errors import ConfigError
from xrt.storage.outputs import refuse_inputs_as_outputs

COLUMNS = ("query", "item", "count", "impressions", "position")


def label_parser() -> argparse.ArgumentParser:
    """The parser of `xrt label`.

    Returns:
        The parser, with the command's arguments and options.
    """
    parser = argparse.ArgumentParser(prog="xrt label")
    parser.add_argument(
        "clicks",
        metavar="CLICKS",
        help="Parquet, CSV, TSV or JSONL, or a folder of them, with query, item, count, "
        "impressions, position (the last three may be missing)",
    )
    parser.add_argument(
        "catalogue",
        metavar="CATALOGUE",
        help="items: id, title, labels (attribute=value; a value may be a path A > B > C)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the corpus, JSONL")
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN",
        help="what the click log calls its columns: query=search_term item=sku",
    )
    parser.add_argument(
        "--title-columns", nargs="+", default=["title"], metavar="KEY", help="default: title"
    )
    parser.add_argument(
        "--label-columns",
        nargs="+",
        default=["labels"],
        metavar="KEY",
        help="default: labels; of several, each is an attribute",
    )
    parser.add_argument(
        "--id-column", metavar="KEY", help="of the catalogue's items (default: uid or id)"
    )
    parser.add_argument(
        "--label-separator", metavar="TEXT", help="splits the cell of a label column"
    )
    parser.add_argument("--names", metavar="FILE", help="names of values: label TAB name")
    parser.add_argument(
        "--paths", metavar="FILE", help="taxonomy of values: `label TAB ancestor > ancestor`"
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        metavar="P",
        help="write labels that are at least as sure (default 0.5)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="default 0")
    parser.add_argument(
        "--skip-bad-lines", action="store_true", help="write bad lines beside FILE and go on"
    )
    return parser


def label(arguments: argparse.Namespace) -> int:
    """Label all queries of the log; the report goes to standard error.

    Args:
        arguments: The parsed arguments of `xrt label`.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: `--columns` is not of the form NAME=COLUMN, or the output is one of the inputs.
        DataError: The log or the catalogue cannot be used.
    """
    from xrt.applications.query_intent import LabellingParams, label_queries
    from xrt.applications.query_intent.catalogue import read_catalogue
    from xrt.progress import RichProgress

    columns = column_names(arguments.columns)
    refuse_inputs_as_outputs(
        {"--out": arguments.out},
        {
            "CLICKS": arguments.clicks, "CATALOGUE": arguments.catalogue,
            "--names": arguments.names, "--paths": arguments.paths,
        },
        {"CLICKS": arguments.clicks},
    )  # fmt: skip
    settings = {"min_confidence": arguments.min_confidence, "seed": arguments.seed}
    params = LabellingParams(**{name: v for name, v in settings.items() if v is not None})
    catalogue = read_catalogue(
        arguments.catalogue,
        title_columns=tuple(arguments.title_columns),
        label_columns=tuple(arguments.label_columns),
        names=arguments.names,
        paths=arguments.paths,
        id_column=arguments.id_column,
        label_separator=arguments.label_separator,
        skip_bad_lines=arguments.skip_bad_lines,
        bad_lines_folder=Path(arguments.out).parent,
    )
    result = label_queries(
        arguments.clicks,
        catalogue,
        Path(arguments.out),
        params,
        columns=columns,
        skip_bad_lines=arguments.skip_bad_lines,
        progress=RichProgress(),
    )
    text = result.report.to_text().replace("CORPUS", str(result.path))
    print(text, file=sys.stderr)
    return 0


def column_names(pairs: list[str]) -> dict[str, str]:
    """`["item=sku"]` as `{"item": "sku"}`.

    Args:
        pairs: Words NAME=COLUMN; NAME is one of the log's columns.

    Returns:
        Column of the file by name.

    Raises:
        ConfigError: A word has another form or another name.
    """
    columns = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if name not in COLUMNS or not equals or not column:
            raise ConfigError(
                f"--columns {pair}: write NAME=COLUMN, where NAME is one of {', '.join(COLUMNS)}"
            )
        columns[name] = column
    return columns
