"""`xrt audit FILE` and `xrt audit apply SUGGESTIONS`: labels that look wrong or missing."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xrt.storage.outputs import refuse_inputs_as_outputs

NOISE = (0.05, 0.1, 0.2)

if TYPE_CHECKING:
    from xrt.applications.audit.audit_params import AuditParams
    from xrt.applications.audit.correction.applying import Applied
    from xrt.applications.audit.suggestions.suggestion import SuggestedChange
    from xrt.data.corpus import Corpus


def run(argv: Sequence[str]) -> int:
    """Audit a corpus, or apply suggestions.

    Args:
        argv: The words behind `xrt audit`; `apply` comes first to apply suggestions.

    Returns:
        The exit code.
    """
    if list(argv[:1]) == ["apply"]:
        return _apply(_apply_parser().parse_args(argv[1:]))
    arguments = _audit_parser().parse_args(argv)
    _refuse_idle_options(arguments)
    return _self_test(arguments) if arguments.self_test else _audit(arguments)


def _refuse_idle_options(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for an option that has no effect beside the others."""
    from xrt.errors import ConfigError

    if arguments.noise and not arguments.self_test:
        raise ConfigError("--noise: has no effect without --self-test; leave it out")
    for option in ("test", "paths", "decisions"):
        if arguments.self_test and getattr(arguments, option) is not None:
            raise ConfigError(f"--{option}: has no effect with --self-test; leave one of them out")


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of `audit` or of `audit apply`.

    Args:
        command: `audit` or `audit apply`.

    Returns:
        The parser.
    """
    return _apply_parser() if command == "audit apply" else _audit_parser()


def _audit(arguments: argparse.Namespace) -> int:
    from xrt.applications.audit.auditing import SUGGESTIONS, audit
    from xrt.data.formats import read_corpus
    from xrt.progress import RichProgress

    folder = Path(arguments.out)
    names = (SUGGESTIONS, "suggestions.parquet", "report.json", "report.html")
    refuse_inputs_as_outputs(
        {f"--out writes {name};": folder / name for name in names},
        {
            "FILE": arguments.file, "--test": arguments.test, "--paths": arguments.paths,
            "--decisions": arguments.decisions, "--labels": arguments.labels,
        },
    )  # fmt: skip
    reading = _reading(arguments, folder)
    corpus = read_corpus(arguments.file, **reading)
    test = None
    if arguments.test is not None:
        test = read_corpus(arguments.test, labels=corpus.labels, **reading)
    report = audit(
        corpus, folder, _params(arguments), test=test, paths=arguments.paths,
        decisions=arguments.decisions, progress=RichProgress(),
    )  # fmt: skip
    for note in _skipped(corpus):  # the others were logged
        _note(note)
    counts = report["suggestions"]
    print(f"{counts['missing']['found']:,} labels may be missing, ", end="")
    print(f"{counts['wrong']['found']:,} may be wrong: {folder / SUGGESTIONS}")
    print(f"report: {folder / 'report.html'}")
    return 0


def _self_test(arguments: argparse.Namespace) -> int:
    import json

    from xrt.applications.audit.self_test import self_test
    from xrt.data.formats import read_corpus
    from xrt.progress import RichProgress
    from xrt.storage.atomic import write_json

    folder = Path(arguments.out)
    corpus = read_corpus(arguments.file, **_reading(arguments, folder))
    records = self_test(
        corpus, folder, _params(arguments), arguments.noise or NOISE, RichProgress()
    )
    write_json(folder / "self-test.json", records)
    print(json.dumps(records, indent=2))
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    from xrt.applications.audit.correction.applying import (
        SOFT,
        accepted,
        apply_suggestions,
        soften,
        write_changes,
    )
    from xrt.applications.audit.suggestions.suggestion import ADD, read_suggestions
    from xrt.applications.audit.suggestions.trust import read_decisions, with_trust
    from xrt.data.formats import read_corpus

    out = Path(arguments.out)
    record = out.with_name(f"{out.name}.changes.jsonl")
    refuse_inputs_as_outputs(
        {"--out": out, "the record of changes": record},
        {
            "--corpus": arguments.corpus, "SUGGESTIONS": arguments.suggestions,
            "--accept": arguments.accept, "--decisions": arguments.decisions,
            "--labels": arguments.labels,
        },
    )  # fmt: skip
    suggestions = read_suggestions(arguments.suggestions)
    if arguments.decisions is not None:
        suggestions, _ = with_trust(suggestions, read_decisions(arguments.decisions))
    reading = _reading(arguments, out.parent)
    corpus = read_corpus(arguments.corpus, require_labels=False, **reading)
    soft = arguments.accept == SOFT
    if soft:
        applied = soften(corpus, suggestions)
    else:
        applied = apply_suggestions(corpus, accepted(suggestions, arguments.accept))
    changes = _write_corrected(arguments.corpus, reading, corpus, applied, out, soft=soft)
    write_changes(record, changes)
    num_added = sum(change.kind == ADD for change in changes)
    others = f"{len(changes) - num_added:,} {'doubted' if soft else 'removed'}"
    print(f"{num_added:,} labels added, {others}: {out}")
    print(f"record of every change: {record}")
    if applied.num_emptied:
        _note(f"{applied.num_emptied:,} rows have no label any more")
    for note in _skipped(corpus):
        _note(note)
    return 0


def _write_corrected(
    source: str,
    reading: dict[str, Any],
    corpus: "Corpus",
    applied: "Applied",
    out: Path,
    *,
    soft: bool,
) -> "list[SuggestedChange]":
    """Write the corrected corpus as the file was, or anew in another format; the changes made."""
    from xrt.applications.audit.correction.applying import row_changes
    from xrt.applications.audit.correction.corrected_file import COPIED, CorrectedFile
    from xrt.data.formats import CorpusFormat, detect_format, format_by_name, write_corpus
    from xrt.data.options import ReadOptions

    own = CorpusFormat(reading["format"]) if reading["format"] else detect_format(source)
    new = format_by_name(out) or (CorpusFormat.BOW if out.suffix == ".txt" else own)
    if own not in COPIED or new is not own:
        if own in COPIED:
            _note(
                f"{source} is {own.value} and {out} is written anew as {new.value}: only text, "
                "labels, ids and weights are kept, other columns are left out"
            )
        write_corpus(applied.corpus, out, new)
        return applied.changes
    options = {name: value for name, value in reading.items() if name in _READ_OPTIONS}
    file = CorrectedFile(
        Path(source), ReadOptions(require_labels=False, **options), corpus,
        row_changes(applied.changes, soft=soft),
    )  # fmt: skip
    file.write(out, own)
    left_out = set(file.left_out)
    if left_out:
        _note(
            f"{len(left_out):,} labels were not added, for their cell holds one label; name "
            "--label-separator, or a file --out FILE.jsonl that is written anew"
        )
    return [s for s in applied.changes if (s.row, s.label) not in left_out]


_READ_OPTIONS = ("text_columns", "label_column", "label_separator", "weight_column", "id_column")


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _params(arguments: argparse.Namespace) -> "AuditParams":
    from xrt.applications.audit.audit_params import AuditParams

    return AuditParams(
        folds=arguments.folds, neighbours=arguments.neighbours, seed=arguments.seed,
        max_suggestions=arguments.max_suggestions, min_label_rows=arguments.min_label_rows,
    )  # fmt: skip


def _reading(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Arguments of `read_corpus`; bad lines that are skipped are written into the folder."""
    options: dict[str, Any] = {
        "label_names": arguments.labels, "format": arguments.format,
        "label_separator": arguments.label_separator, "id_column": arguments.id_column,
        "weight_column": arguments.weight_column, "skip_bad_lines": arguments.skip_bad_lines,
        "bad_lines_folder": folder,
    }  # fmt: skip
    if arguments.text_columns:
        options["text_columns"] = arguments.text_columns
    if arguments.label_columns:
        one = len(arguments.label_columns) == 1
        options["label_column"] = arguments.label_columns[0] if one else arguments.label_columns
    return options


def _skipped(corpus: "Corpus") -> list[str]:
    report = corpus.report
    if not report.num_skipped:
        return []
    return [f"{report.num_skipped:,} bad lines skipped, written to {report.bad_lines_path}"]


def _audit_parser() -> argparse.ArgumentParser:
    from xrt.applications.audit.audit_params import AuditParams

    defaults = AuditParams()
    parser = argparse.ArgumentParser(
        prog="xrt audit",
        description="Labels that look wrong or missing, with the evidence for each; "
        "`xrt audit apply` makes the changes.",
    )
    parser.add_argument(
        "file", metavar="FILE", help="labelled corpus, in any format training reads"
    )
    parser.add_argument("--out", default="audit", metavar="FOLDER", help="default: audit")
    parser.add_argument(
        "--folds", type=int, default=defaults.folds, help=f"default {defaults.folds}"
    )
    parser.add_argument("--neighbours", type=int, default=defaults.neighbours, metavar="W")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--max-suggestions", type=int, default=defaults.max_suggestions, metavar="N",
        help="of each kind, the best ones",
    )  # fmt: skip
    parser.add_argument(
        "--min-label-rows", type=int, default=defaults.min_label_rows, metavar="N",
        help="judge labels that stand in at least so many of the rows the judging model has seen "
        f"(default {defaults.min_label_rows})",
    )  # fmt: skip
    parser.add_argument(
        "--test", metavar="FILE", help="look for the rows of this file in the corpus"
    )
    parser.add_argument("--paths", metavar="FILE", help="taxonomy: `label TAB ancestor > ancestor`")
    parser.add_argument(
        "--decisions", metavar="FILE", help="learn from JSON lines with `id` and `accepted`"
    )
    parser.add_argument(
        "--self-test", action="store_true",
        help="damage a copy of the labels and report how much of the damage is found",
    )  # fmt: skip
    parser.add_argument(
        "--noise", type=float, nargs="+", metavar="SHARE",
        help=f"shares of labels that the self-test removes and adds (default {NOISE})",
    )  # fmt: skip
    _add_reading(parser)
    return parser


def _apply_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xrt audit apply", description="Write a corrected corpus and a record of every change."
    )
    parser.add_argument("suggestions", metavar="SUGGESTIONS", help="suggestions.jsonl of an audit")
    parser.add_argument("--corpus", required=True, metavar="FILE", help="the file that was audited")
    parser.add_argument("--out", required=True, metavar="FILE", help="corrected corpus")
    parser.add_argument(
        "--accept", default="all", metavar="all|soft|FILE|SCORE",
        help="all (default), a file of ids or decisions, or the least score; soft changes only how "
        "much a label counts in training",
    )  # fmt: skip
    parser.add_argument(
        "--decisions", metavar="FILE", help="compare what is learnt from them with the least score"
    )
    _add_reading(parser)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", metavar="FILE", help="names of labels: `id TAB name`")
    parser.add_argument("--text-columns", nargs="+", metavar="NAME")
    parser.add_argument("--label-columns", nargs="+", metavar="NAME")
    parser.add_argument(
        "--label-separator", metavar="TEXT", help="splits the cell of a label column"
    )
    parser.add_argument("--id-column", metavar="NAME", help="ids of rows (default: uid or id)")
    parser.add_argument("--weight-column", metavar="NAME", help="weights of rows")
    parser.add_argument(
        "--format", metavar="FORMAT", help="of FILE, where its name does not say it: jsonl, csv, "
        "tsv, parquet, bow, lf, npz",
    )  # fmt: skip
    parser.add_argument(
        "--skip-bad-lines", action="store_true", help="write bad lines aside and go on"
    )
