"""What a text-to-text model writes for a row, and the trie of everything it may write.

The target of a row is the value of each attribute, in the order of the table, a separator after
each, then the end of the text:

    Nike | Home | Kitchen | Mugs |

An item that has no value for an attribute is written as `none`; a value that the row does not give
is left empty and not learnt from. Each value is turned into tokens by itself, so that the tokens of
a value are the same in every row, and no value holds the separator, so that none is the beginning
of another. N rows, A attributes, L labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from xrt.errors import ConfigError

NONE_TEXT = "none"
SEPARATORS = ("|", ";", "/", ",")
"""The first that the tokenizer knows is used."""
IGNORED = -100  # a token that the loss passes over


class Space(Protocol):
    """What is asked of an AttributeSpace."""

    attributes: tuple[str, ...]
    hierarchy: tuple[str, ...]

    def columns_of(self, attribute: str) -> np.ndarray:
        """Label columns of an attribute."""

    def value(self, column: int) -> str | None:
        """The bare value of a label; None for "none"."""


Trie = dict[int, Any]
"""By token: the trie after it, or, where a value ends, the label column."""


class State(NamedTuple):
    """How far a text has come: the place in the trie, and the columns chosen so far."""

    node: Trie
    chosen: tuple[int, ...]


@dataclass(frozen=True)
class TargetFormat:
    """Tokens of every label, with the separator after them, and the special tokens."""

    attributes: tuple[str, ...]
    hierarchy: tuple[str, ...]
    tokens_of: dict[int, tuple[int, ...]]
    labels_of: tuple[tuple[int, ...], ...]
    separator: tuple[int, ...]
    end: int
    pad: int

    @classmethod
    def of(cls, tokenizer: Any, space: Space, num_known: int) -> "TargetFormat":
        """The format of the labels known in training: columns below `num_known`.

        Raises ConfigError when the tokenizer knows no separator.
        """
        mark = next((m for m in SEPARATORS if _known(tokenizer, m)), None)
        if mark is None:
            raise ConfigError(f"the tokenizer knows none of the separators {SEPARATORS}")
        separator = tuple(_tokens(tokenizer, [mark])[0])
        labels_of = tuple(
            tuple(int(c) for c in space.columns_of(name) if c < num_known)
            for name in space.attributes
        )
        columns = [column for labels in labels_of for column in labels]
        texts = [space.value(column) or NONE_TEXT for column in columns]
        tokens = _tokens(tokenizer, [text.replace(mark, " ") for text in texts])
        return cls(
            attributes=tuple(space.attributes),
            hierarchy=tuple(space.hierarchy),
            tokens_of={c: (*t, *separator) for c, t in zip(columns, tokens, strict=True)},
            labels_of=labels_of,
            separator=separator,
            end=int(tokenizer.eos_token_id),
            pad=int(tokenizer.pad_token_id),
        )

    def write(self, given_A: Sequence[int]) -> tuple[list[int], list[int]]:
        """Tokens of a row's target, and what to learn: the same, IGNORED where nothing is given."""
        written: list[int] = []
        learnt: list[int] = []
        for column in map(int, given_A):
            tokens = self.tokens_of.get(column, self.separator)
            written += tokens
            learnt += tokens if column in self.tokens_of else [IGNORED] * len(tokens)
        return [*written, self.end], [*learnt, self.end]

    @property
    def longest(self) -> int:
        """Tokens of the longest text there can be."""
        longest = (max(len(self.tokens_of[c]) for c in labels) for labels in self.labels_of)
        return sum(longest) + 1


class KnownValues:
    """The texts that may be written, as a trie for each attribute; or only paths of the hierarchy
    that training has seen.

    Where two values of an attribute have the same tokens, the more frequent one is meant;
    `num_alike` counts the others.
    """

    def __init__(
        self, target: TargetFormat, given_NA: np.ndarray, only_seen_paths: bool = False
    ) -> None:
        """Tries are made as they are first needed. `given_NA` are the training rows."""
        self.target = target
        columns, counts = np.unique(given_NA[given_NA >= 0], return_counts=True)
        self.count_of = dict(zip(columns.tolist(), counts.tolist(), strict=True))
        self.levels = [target.attributes.index(name) for name in target.hierarchy]
        seen = only_seen_paths and bool(self.levels)
        self.next_of = _seen_paths(given_NA[:, self.levels]) if seen else {}
        self.tries: dict[tuple[int, tuple[int, ...]], Trie] = {}
        self.states: dict[tuple[int, ...], State] = {}
        self.num_alike = sum(
            len(labels) - len({target.tokens_of[c] for c in labels}) for labels in target.labels_of
        )

    def allowed(self, written: Sequence[int]) -> list[int]:
        """Tokens that may follow those that are written."""
        state = self.state_after(tuple(written))
        if len(state.chosen) == len(self.target.attributes):
            return [self.target.pad if self.target.end in written else self.target.end]
        return list(state.node)

    def columns(self, written: Sequence[int]) -> tuple[int, ...]:
        """The label column of each attribute that a whole text names."""
        if self.target.end in written:
            written = written[: list(written).index(self.target.end)]
        return self.state_after(tuple(written)).chosen

    def state_after(self, written: tuple[int, ...]) -> State:
        """Where these tokens lead; remembered, so that each further token is one step."""
        if not written:
            return State(self._trie(()), ())
        if written not in self.states:
            self.states[written] = self._step(self.state_after(written[:-1]), written[-1])
        return self.states[written]

    def forget(self) -> None:
        """Let go of the texts that were followed."""
        self.states.clear()

    def _step(self, state: State, token: int) -> State:
        if len(state.chosen) == len(self.target.attributes):
            return state  # the end, and what fills up after it
        below = state.node[token]
        if isinstance(below, dict):
            return State(below, state.chosen)
        chosen = (*state.chosen, below)
        return State(
            {} if len(chosen) == len(self.target.attributes) else self._trie(chosen), chosen
        )

    def _trie(self, chosen: tuple[int, ...]) -> Trie:
        """The trie of the next attribute, after the values chosen so far."""
        attribute = len(chosen)
        path: tuple[int, ...] = ()
        if attribute in self.levels:
            above = self.levels[: self.levels.index(attribute)]
            path = tuple(chosen[level] for level in above if level < attribute)
        labels: Iterable[int] = self.target.labels_of[attribute]
        if attribute in self.levels:
            labels = self.next_of.get(path) or labels
        key = (attribute, path if self.next_of else ())
        if key not in self.tries:
            rare_first = sorted(labels, key=lambda column: self.count_of.get(column, 0))
            self.tries[key] = _grow((self.target.tokens_of[c], c) for c in rare_first)
        return self.tries[key]


def _grow(values: Iterable[tuple[tuple[int, ...], int]]) -> Trie:
    """A trie of token sequences of which none begins another; a later column replaces an earlier
    one with the same tokens.
    """
    root: Trie = {}
    for tokens, column in values:
        node = root
        for token in tokens[:-1]:
            node = node.setdefault(token, {})
        node[tokens[-1]] = column
    return root


def _seen_paths(levels_NA: np.ndarray) -> dict[tuple[int, ...], set[int]]:
    """What has followed each beginning of a path; a path ends where a row gives no value."""
    next_of: dict[tuple[int, ...], set[int]] = {}
    for row in np.unique(levels_NA, axis=0).tolist():
        for depth, column in enumerate(row):
            if column < 0:
                break
            next_of.setdefault(tuple(row[:depth]), set()).add(column)
    return next_of


def _tokens(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def _known(tokenizer: Any, mark: str) -> bool:
    tokens = _tokens(tokenizer, [mark])[0]
    return bool(tokens) and tokenizer.unk_token_id not in tokens
