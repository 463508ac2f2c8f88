"""What a run can choose for itself, and what it tries: settings of the linear model by aspect.

An aspect is a part of the model whose settings belong together. It is chosen only where none of
its settings was given; each of its options is tried beside the settings that stand.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from xrt.features.tfidf_params import WORDS_OF_TWO
from xrt.pipeline.choosing.choices import Values, values_that_differ
from xrt.pipeline.params import PipelineParams


@dataclass(frozen=True)
class Option:
    """Some settings under a name that people read.

    Attributes:
        name: for people.
        values: the settings.
        ratio: about how many times the work of the settings that stand it takes to train, beside
            what more nonzeros of the rows take.
    """

    name: str
    values: Values
    ratio: float = 1.0


@dataclass(frozen=True)
class Aspect:
    """Settings that are chosen together.

    Attributes:
        settings: their full names. Where one of them was given, or the whole part that it stands
            in, the aspect is not chosen.
        options: what is tried.
    """

    settings: tuple[str, ...]
    options: tuple[Option, ...]


_VIEW = ("word_ngram_max", "char_ngrams", "sublinear_tf", "token_pattern")
_SHAPE = ("shape", "fan_out", "depth", "branching", "max_leaf_size", "max_top_nodes", "paths")
_COSTS = ("cost_positive", "cost_negative", "matcher_negatives", "threshold")


def _view(**values: Any) -> Values:
    return {f"features.{name}": value for name, value in values.items()}


KNOWN: Mapping[str, Aspect] = MappingProxyType(
    {
        "search.path_weight": Aspect(
            ("search.path_weight",),
            (Option("half the path", {"search.path_weight": 0.5}, ratio=0),),
        ),
        "neighbours": Aspect(
            ("neighbours.num_neighbours",),
            (Option("200 neighbours", {"neighbours.num_neighbours": 200}, ratio=0),),
        ),
        "features": Aspect(
            tuple(f"features.{name}" for name in _VIEW),
            (
                Option("counted words", _view(sublinear_tf=False, token_pattern=WORDS_OF_TWO)),
                Option("4-grams beside words", _view(char_ngrams=[4, 4])),
                Option(
                    "4-grams beside words, counted",
                    _view(char_ngrams=[4, 4], sublinear_tf=False, token_pattern=WORDS_OF_TWO),
                ),
            ),
        ),
        "ranker": Aspect(
            tuple(f"ranker.{name}" for name in _COSTS),
            (
                Option("true labels cost double", {"ranker.cost_positive": 2.0}),
                Option("small weights kept", {"ranker.threshold": 0.02}),
            ),
        ),
        "tree": Aspect(
            tuple(f"tree.{name}" for name in _SHAPE),
            (
                Option("k-means", {"tree.shape": "k_means"}, ratio=1.3),
                Option("halves", {"tree.shape": "halves"}, ratio=0.7),
            ),
        ),
        "num_trees": Aspect(("num_trees",), (Option("5 trees", {"num_trees": 5}, ratio=1.7),)),
    }
)
"""Every aspect by its name, in the order in which options are tried: those of the first two take no
training of their own."""
FEWEST_ROWS = 5_000
"""Rows of a corpus on which anything is chosen. What is held out of fewer tells no gain of less
than a point, and tries take longer than the training.
"""
ONE_TREE_TELLS = frozenset({"features", "ranker", "search.path_weight"})
"""Aspects whose options one tree without fusion tells apart: a first round of these alone takes a
third of the work."""


def is_large_enough(num_rows: int) -> bool:
    """Whether anything is chosen on so many rows.

    Args:
        num_rows: rows of a corpus.

    Returns:
        False for fewer than FEWEST_ROWS.
    """
    return num_rows >= FEWEST_ROWS


def open_aspects(choose: Sequence[str], given: Collection[str]) -> tuple[str, ...]:
    """The aspects that are still open where some settings were given.

    Args:
        choose: names of aspects.
        given: full names of settings that were given, or of whole parts: `tree`, `tree.branching`.

    Returns:
        Those of them none of whose settings was given; an unknown name stays.
    """
    return tuple(
        name
        for name in choose
        if not any(
            setting in given or setting.partition(".")[0] in given
            for setting in (KNOWN[name].settings if name in KNOWN else ())
        )
    )


def leave_given(params: PipelineParams, given: Collection[str]) -> PipelineParams:
    """Settings that choose nothing of what was given.

    Args:
        params: the settings.
        given: as in `open_aspects`.

    Returns:
        The settings, with the aspects that are still open.
    """
    return replace(params, choose=open_aspects(params.choose, given))


def options_of(
    params: PipelineParams, *, has_texts: bool = True, has_tree: bool = False
) -> list[tuple[str, Option]]:
    """What there is to try: the options of all aspects that the settings leave open, but those
    that change nothing.

    Args:
        params: the settings that stand; `choose` names the aspects.
        has_texts: the corpus has texts; features of rows cannot be chosen.
        has_tree: the label tree is given; neither its shape nor the number of trees can be chosen.

    Returns:
        Options with the names of their aspects, those first that take no training of their own.
    """
    closed: set[str] = set()
    if not has_texts:
        closed.add("features")
    if has_tree or params.tree.paths is not None:
        closed.add("tree")
        if has_tree or not params.tree.inside:
            closed.add("num_trees")
    if not params.fused:
        closed.add("neighbours")
    open_names = [name for name in KNOWN if name in params.choose and name not in closed]
    found = []
    for name in open_names:
        for option in KNOWN[name].options:
            values = values_that_differ(params, option.values)
            if values:
                found.append((name, Option(option.name, values, option.ratio)))
    return found
