"""Which value of an attribute lies above which: from paths in the values, or from a taxonomy file.

L labels `attribute=value`. A value "A > B > C" lies below "A > B"; a taxonomy gives a label the
names of its ancestors. Ancestors that no item carries become labels, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xrt.errors import DataError

STEP = " > "
_MAX_DEPTH = 100


@dataclass(frozen=True)
class ValueTree:
    """labels: the input's, then ancestors that are none of them. index: position of each.

    parent_L: -1 where nothing is above; depth_L: number of ancestors. Both int64.
    """

    labels: list[str]
    index: dict[str, int]
    parent_L: np.ndarray
    depth_L: np.ndarray


def attribute_of(label: str) -> str:
    """The part before "="; labels without one are all of the attribute "label".

    Args:
        label: A label, `attribute=value` or other text.

    Returns:
        The attribute.
    """
    name, equals, _ = label.partition("=")
    return name if equals else "label"


def value_of(label: str) -> str:
    """The part after "=", or the whole label without one.

    Args:
        label: A label, `attribute=value` or other text.

    Returns:
        The value.
    """
    _, equals, value = label.partition("=")
    return value if equals else label


def last_step(value: str) -> str:
    """The last step of a path, or the value.

    Args:
        value: A value; one with " > " is a path.

    Returns:
        The text behind the last " > ".
    """
    return value.rpartition(STEP)[2]


def value_tree(
    ids: Sequence[str],
    names: Sequence[str] = (),
    paths: Sequence[tuple[str, ...]] = (),
) -> ValueTree:
    """The tree over labels `ids`.

    Args:
        ids: The labels.
        names: What each is called, '' where it has no name; or none at all.
        paths: The names of each one's ancestors, the coarsest first, as `read_label_paths` gives
            them; or none at all. An ancestor is the label of the same attribute with that path,
            value or name, or else a label of its own. They count more than paths in the values.

    Returns:
        The tree; ancestors that are not among `ids` follow them.

    Raises:
        DataError: a label lies above itself.
    """
    labels = list(ids)
    index = {label: i for i, label in enumerate(labels)}
    steps_of = {label: steps for label, steps in zip(ids, paths, strict=False) if steps}
    called: dict[tuple[str, str], str] = {}
    for label, name in zip(ids, names, strict=False):
        if name:
            called.setdefault((attribute_of(label), name), label)
    parents: list[int] = []
    for label in labels:  # grows on the way: appended ancestors get their own ancestors
        above = _above(label, steps_of.get(label, ()), index, called)
        parents.append(-1 if above is None else index.setdefault(above, len(labels)))
        if above is None:
            continue
        if parents[-1] == len(labels):
            labels.append(above)
        higher = steps_of.get(label, ())[:-1]
        if higher and STEP not in value_of(above):
            steps_of.setdefault(above, higher)
    parent_L = np.array(parents, np.int64)
    return ValueTree(labels, index, parent_L, _depths(parent_L, labels))


def _above(
    label: str,
    steps: tuple[str, ...],
    index: dict[str, int],
    called: dict[tuple[str, str], str],
) -> str | None:
    """The label directly above."""
    if not steps:
        return label.rpartition(STEP)[0] if STEP in value_of(label) else None
    prefix = label[: -len(value_of(label))] if value_of(label) else label
    path, name = prefix + STEP.join(steps), steps[-1]
    candidates = (path, prefix + name, name, called.get((attribute_of(label), name)))
    return next((some for some in candidates if some in index and some != label), path)


def _depths(parent_L: np.ndarray, labels: list[str]) -> np.ndarray:
    """Number of ancestors of each label. Raises DataError when one is its own ancestor."""
    depth_L = np.zeros(len(parent_L), np.int64)
    current_L = parent_L.copy()
    for _ in range(_MAX_DEPTH):
        some = np.flatnonzero(current_L >= 0)
        if not len(some):
            return depth_L
        depth_L[some] += 1
        current_L[some] = parent_L[current_L[some]]
    cyclic = int(np.flatnonzero(current_L >= 0)[0])
    raise DataError(
        f"taxonomy: {labels[cyclic]!r} has over {_MAX_DEPTH} values above it, the first "
        f"{labels[parent_L[cyclic]]!r}; a value must not lie above itself"
    )
