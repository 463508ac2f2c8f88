"""Labels that people added to rows of the corpus while they reviewed suggestions of others."""

from pathlib import Path

from xrt.applications.audit.suggestions.suggestion import ADD, SuggestedChange, read_lines


def read_added_labels(path: str | Path) -> list[SuggestedChange]:
    """The accepted decisions that say of themselves which label is added to which row.

    The queue of `xrt serve` writes them: beside `id` and `accepted` they have `kind` (add),
    `corpus`, `row` and `label`.

    Args:
        path: A file of decisions that `read_decisions` reads.

    Returns:
        Changes of score 1, each id once.

    Raises:
        DataError: A line is no JSON object; file and line are named.
    """
    added: dict[str, SuggestedChange] = {}
    for _, record in read_lines(path):
        corpus, row, label = (record.get(name) for name in ("corpus", "row", "label"))
        is_whole = isinstance(corpus, str) and isinstance(label, str) and type(row) is int
        if record.get("accepted") is not True or record.get("kind") != ADD or not is_whole:
            continue
        uid, name = (record.get(name) for name in ("uid", "name"))
        added[record["id"]] = SuggestedChange(
            id=record["id"], kind=ADD, corpus=str(corpus), row=int(str(row)),
            uid=uid if isinstance(uid, str) else None, text=None, label=str(label),
            name=name if isinstance(name, str) else "", score=1.0, probability=1.0,
            linear_probability=1.0, threshold=0.0, rank=0, agreement=0.0, similarity=0.0,
            name_in_text=0.0, label_rows=0,
        )  # fmt: skip
    return list(added.values())
