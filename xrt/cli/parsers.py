"""The parsers of the command line: what each command but `train` takes, and what `--help` prints.

Nothing heavy is imported, so that `xrt --help` and a misspelt option answer at once.
"""

import argparse
from collections.abc import Callable
from typing import TypeVar

from xrt.applications import application_commands, applications

T = TypeVar("T")
_TRAIN_HELP = """\
settings are given as key=value and group=choice; conf/ holds the groups:
  xrt train experiment=quickstart                 a preset
  xrt train experiment=tibkat tree.branching=32   a preset with one setting changed
  xrt train -m experiment=bibtex search.beam_size=5,10,20    one run for each value
  xrt train --help                                every setting with its value
"""
_EPILOG = "A fault is one line of output; --debug anywhere among the words adds its traceback."


def main_parser() -> argparse.ArgumentParser:
    """The parser of all commands but `train` and those of applications, which have their own.

    Returns:
        The parser; `train` is listed in it, without its settings.
    """
    from xrt import __version__

    parser = argparse.ArgumentParser(
        prog="xrt",
        description="Tags text with the right few labels out of thousands to millions.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"xrt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "train",
        help="train a model: xrt train experiment=NAME key=value",
        epilog=_TRAIN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_predict_arguments(
        commands.add_parser("predict", help="tag texts: a table to look at, or JSON lines")
    )

    add_explain_arguments(commands.add_parser("explain", help="why a text gets its labels"))

    evaluate = commands.add_parser(
        "evaluate", help="the metrics table of a model on a labelled file"
    )
    evaluate.add_argument("model", metavar="MODEL", help="folder of a trained model")
    evaluate.add_argument(
        "file", metavar="FILE", help="labelled corpus, in any format that training reads"
    )
    evaluate.add_argument(
        "-k", type=_positive, nargs="+", default=[1, 3, 5, 10], metavar="K", help="cut-offs"
    )
    add_expect_argument(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_reading_arguments(evaluate)

    inspect = commands.add_parser("inspect", help="sizes, tree, and what a model knows")
    inspect.add_argument("model", metavar="MODEL", help="folder of a trained model")
    add_expect_argument(inspect)
    inspect.add_argument("--json", action="store_true", help="print JSON instead of the table")

    compare = commands.add_parser("compare", help="finished runs side by side, best first")
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, or a folder of them such as a sweep's"
    )
    compare.add_argument("--html", metavar="FILE", help="write a page with charts, too")
    _add_sweep_arguments(
        commands.add_parser("sweep", help="search settings: xrt sweep key=a,b,c --trials 20")
    )

    add_report_arguments(
        commands.add_parser("report", help="a run as a summary, and as a page to show")
    )
    add_serve_arguments(commands.add_parser("serve", help="models behind HTTP, and a page"))

    for command in application_commands():
        commands.add_parser(command.name, help=command.help)
    return parser


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="KEY=VALUE",
        help="settings of xrt train; those with several values are searched: a,b,c, range(2,10,2), "
        "interval(0.1,0.9), tag(log,interval(1e-5,1e-3))",
    )
    parser.add_argument(
        "--trials", type=_positive, default=20, metavar="N", help="trials in all (default 20)"
    )
    parser.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="trials at once (default 1)"
    )
    parser.add_argument(
        "--sampler", choices=("tpe", "random", "grid"), default="tpe",
        help="how values are chosen (default tpe)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the sampler (default 0)"
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="stop a fine-tuning whose validations stay below the median of other trials'",
    )


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `xrt predict`.

    Args:
        parser: Takes the arguments, with those of applications.
    """
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="folder of a trained model, or http://HOST:PORT/v1/models/NAME of xrt serve",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help="a text a line, or CSV, TSV, JSONL or Parquet with the columns of training; - "
        "(default): stdin",
    )
    parser.add_argument(
        "-k", type=_positive, default=5, metavar="K", help="labels per text (default 5)"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write here, whole or not at all (default: standard output)"
    )
    parser.add_argument(
        "--min-score",
        type=_score,
        metavar="S",
        help="drop labels that score less: a number (default 0), micro-F1 or macro-F1 (tuned in "
        "training)",
    )
    parser.add_argument(
        "--as",
        dest="write_as",
        choices=("auto", "table", "jsonl"),
        default="auto",
        help="auto (default): a table where the output is a terminal, else JSON lines",
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        help="file with the key of the server (default: the variable XRT_SERVE_KEY)",
    )
    add_expect_argument(parser)
    parser.add_argument(
        "--tail",
        type=float,
        default=0.0,
        metavar="T",
        help="0 (default) to 1: rank rare labels higher; scores stay",
    )
    parser.add_argument(
        "--allowed",
        metavar="LABELS",
        help="suggest only labels of this file: an id a line, id TAB name, or CSV",
    )
    parser.add_argument(
        "--forbidden", metavar="LABELS", help="suggest no label of this file, as --allowed reads it"
    )
    parser.add_argument(
        "--batch-size", type=_positive, default=256, metavar="N", help="texts at once (default 256)"
    )
    parser.add_argument(
        "--compute",
        metavar="KIND",
        default="auto",
        help="how the encoder computes: auto (default, as it was trained), fp32, bf16, int8, onnx",
    )
    parser.add_argument(
        "--text-columns",
        nargs="+",
        metavar="NAME",
        help="columns (keys) that make the text (default: as in training)",
    )
    parser.add_argument(
        "--id-column",
        metavar="NAME",
        help="column (key) of each row's own id (default: as in training, or uid or id)",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "text", "jsonl", "csv", "tsv", "parquet"),
        default="auto",
        help="auto (default): by the file's name; else JSONL when it opens with {, or text",
    )
    parser.add_argument(
        "--skip-bad-lines",
        action="store_true",
        help="write bad lines to FILE's name .bad-lines.jsonl and go on",
    )
    for application in applications():
        application.add_predict_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how a labelled file is read, where not as in training.

    Args:
        parser: Takes the arguments, in a group of their own.
    """
    group = parser.add_argument_group("how FILE is read (default: as the training file was)")
    group.add_argument(
        "--format", metavar="FORMAT", help="jsonl, csv, tsv, parquet, bow, lf or npz"
    )
    group.add_argument("--text-columns", nargs="+", metavar="NAME", help="they make the text")
    group.add_argument(
        "--label-columns", nargs="+", metavar="NAME", help="of several, labels are name=value"
    )
    group.add_argument("--label-separator", metavar="SIGN", help="stands between labels")
    group.add_argument("--id-column", metavar="NAME", help="each row's own id")
    group.add_argument(
        "--weight-column", metavar="NAME", help="how much each row counts (default: alike)"
    )
    group.add_argument(
        "--skip-bad-lines",
        action="store_true",
        help="write bad lines to FILE's name .bad-lines.jsonl and go on",
    )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `xrt report`.

    Args:
        parser: Takes the arguments.
    """
    parser.add_argument(
        "path", metavar="MODEL_OR_RUN", help="folder of a run (runs/NAME), or of a trained model"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write the page here (default: report.html of the run, or beside the model)",
    )
    parser.add_argument(
        "--no-examples",
        action="store_true",
        help="leave the texts of rows out, for a page that others may see",
    )
    parser.add_argument(
        "--test",
        metavar="FILE",
        help="measure the model on this labelled file, and show examples of its rows",
    )
    add_reading_arguments(parser)


def add_expect_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that names the model that has to be used.

    Args:
        parser: Takes the argument.
    """
    parser.add_argument(
        "--expect",
        metavar="DIGEST",
        help="refuse any other model than this one; `xrt train` and `xrt inspect` print the digest",
    )


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `xrt explain`.

    Args:
        parser: Takes the arguments.
    """
    parser.add_argument("model", metavar="MODEL", help="folder of a trained model")
    parser.add_argument("text", metavar="TEXT", help="the text itself; - reads standard input")
    parser.add_argument("-k", type=_positive, metavar="K", help="labels to explain (default 5)")
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="ID",
        help="explain these labels instead of the K best: why, or why not",
    )
    parser.add_argument(
        "--training",
        metavar="FILE",
        help="the corpus it was trained on, to show the texts of the nearest rows",
    )
    add_expect_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `xrt serve`.

    Args:
        parser: Takes the arguments.
    """
    from xrt.serve.options import ServeOptions, parse_size, parse_time

    default = ServeOptions({})

    def size(text: str) -> int:
        return _read(parse_size, text, "8MB or 512KiB")

    def seconds(text: str) -> float:
        return _read(parse_time, text, "30s or 500ms")

    parser.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="folder of a trained model, or NAME=FOLDER; its name in addresses is the folder's",
    )  # fmt: skip
    parser.add_argument(
        "--host", default=default.host, metavar="ADDRESS",
        help=f"where to listen (default {default.host}: this machine only; elsewhere needs a key)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=default.port, metavar="N",
        help=f"port (default {default.port}; 0: any that is free)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_positive, default=default.workers, metavar="N",
        help="processes that answer (default 1); they share the memory of the models",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=_positive, metavar="N",
        help="threads of each worker (default: the processors, divided by the workers)",
    )  # fmt: skip
    parser.add_argument(
        "--key-file", metavar="FILE",
        help="file with the key that clients have to send (default: the variable XRT_SERVE_KEY)",
    )  # fmt: skip
    parser.add_argument(
        "--max-body", type=size, default=default.max_body, metavar="SIZE",
        help="largest body of a request (default 8MB)",
    )  # fmt: skip
    parser.add_argument(
        "--queue-length", type=_positive, default=default.queue_length, metavar="N",
        help=f"requests of a worker that may wait (default {default.queue_length}); more get 429",
    )  # fmt: skip
    parser.add_argument(
        "--deadline", type=seconds, default=default.deadline, metavar="TIME",
        help="a request without an answer after this time gets 504 (default 30s)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=seconds, default=default.grace, metavar="TIME",
        help="what requests in flight have to end after SIGTERM (default 30s)",
    )  # fmt: skip
    parser.add_argument(
        "--decisions", metavar="FILE",
        help="what people decide on the page is added here, for `xrt audit --decisions`",
    )  # fmt: skip
    parser.add_argument(
        "--queue",
        metavar="FILE",
        help="suggestions.jsonl of `xrt audit`, to go through on the page",
    )
    parser.add_argument(
        "--allow-reload", action="store_true",
        help="POST /-/reload loads models from their folders anew",
    )  # fmt: skip
    parser.add_argument(
        "--cors", nargs="+", metavar="ORIGIN", help="web pages of these origins may ask the server"
    )
    parser.add_argument(
        "--root-path", default=default.root_path, metavar="PATH",
        help="path under which a proxy shows the server",
    )  # fmt: skip
    parser.add_argument(
        "--log-texts", action="store_true", help="write the texts of requests into the log, too"
    )
    parser.add_argument(
        "--log-format", choices=("plain", "json"), default=default.log_format,
        help="lines of the log (default plain)",
    )  # fmt: skip
    parser.add_argument(
        "--compute", default=default.compute, metavar="KIND",
        help="how encoders compute: auto (default, as trained), fp32, bf16, int8, onnx",
    )  # fmt: skip


def _read(parse: Callable[[str], T], text: str, example: str) -> T:
    try:
        return parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as {example}") from None


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"{value}: a port is 0 to 65535")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: at least 1 is needed")
    return value


def _score(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
