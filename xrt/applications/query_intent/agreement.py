"""Training examples without manual labels: pairs on which clicks and words agree.

True: the value is named, and clicks support it, and no rival is named. False: another value of the
same attribute is true; or every word of the query names a true value, so that it says nothing of
any other attribute ("no value"). All other pairs are left open.

Shoppers seldom write names in full, and a model of these examples alone would learn to ask for a
name. So each example is also shown as a shopper might have typed it: one name replaced by another
word for the value, misspelt, shortened, or by an unknown word. The clicks stay.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from xrt.applications.query_intent.catalogue import Catalogue
from xrt.applications.query_intent.words.word_features import Reading, supported_names

_MIN_SHARE_LOWER = 0.25
_MIN_LOG_LIFT_LOWER = 0.7
_MIN_ITEMS = 2
# Cumulated shares of rewritten names: by another word, misspelt, shortened; the rest is unknown.
_ALIAS, _MISSPELT, _SHORTENED = 0.40, 0.65, 0.80
UNKNOWN_WORD = "zqx"


def clicks_support(share_lower: float, log_lift_lower: float, num_items: float) -> bool:
    """Whether clicks alone make a value likely.

    Args:
        share_lower: Lower bound of the value's share of the clicks, 0 to 1.
        log_lift_lower: Natural logarithm of that bound divided by the value's share in the
            catalogue.
        num_items: Distinct clicked items that have the value.

    Returns:
        True where all three reach their least value.
    """
    return (
        share_lower >= _MIN_SHARE_LOWER
        and log_lift_lower >= _MIN_LOG_LIFT_LOWER
        and num_items >= _MIN_ITEMS
    )


def agreed_values(
    reading: Reading, share: Mapping[int, float], supported: Collection[int], catalogue: Catalogue
) -> dict[int, tuple[int, int]]:
    """Values that are named and clicked, of attributes with no other such value.

    Of an ancestor and its descendant that the same words name, the clicks' favourite counts.

    Args:
        reading: The query as read.
        share: Smoothed click share, 0 to 1, of values by label number.
        supported: Labels that clicks support.
        catalogue: The catalogue.

    Returns:
        Label -> span (first word, end) of the name in the query.
    """
    named_spans = supported_names(reading, share)
    agreed_spans: dict[int, tuple[int, int]] = {}
    for label, span in named_spans.items():
        rivals = [
            other
            for other in named_spans
            if other != label and catalogue.attribute_L[other] == catalogue.attribute_L[label]
        ]
        if label in supported and all((label, other) in catalogue.related for other in rivals):
            agreed_spans[label] = span
    return agreed_spans


def verdicts_of(
    reading: Reading,
    agreed_spans: Mapping[int, tuple[int, int]],
    labels: Sequence[int],
    catalogue: Catalogue,
) -> list[int]:
    """Judge labels from the values on which clicks and words agree.

    Ancestors of true values are open. A value below a true one is false where every word of the
    query names a true value, and open elsewhere.

    Args:
        reading: The query as read.
        agreed_spans: The true values, with the spans of their names.
        labels: Label numbers to judge.
        catalogue: The catalogue.

    Returns:
        1 (true), 0 (false) or -1 (open) for each label, in the order of `labels`.
    """
    is_explained = bool(agreed_spans) and reading.free_words(agreed_spans.values()) == 0
    true_attributes = {int(catalogue.attribute_L[label]) for label in agreed_spans}
    verdicts = []
    for label in labels:
        attribute = int(catalogue.attribute_L[label])
        if label in agreed_spans:
            verdicts.append(1)
        elif any((label, other) in catalogue.related for other in agreed_spans):
            below = any(other in catalogue.ancestors(label) for other in agreed_spans)
            verdicts.append(0 if below and is_explained else -1)
        elif attribute in true_attributes and catalogue.exclusive_A[attribute]:
            verdicts.append(0)
        else:
            verdicts.append(0 if is_explained else -1)
    return verdicts


def rewrite_query(
    reading: Reading,
    agreed_spans: Mapping[int, tuple[int, int]],
    forms: Sequence[Sequence[str]],
    names: Sequence[Sequence[str]],
    rng: np.random.Generator,
) -> str:
    """The query with the name of one agreed value written otherwise.

    Args:
        reading: The query as read.
        agreed_spans: The true values with the spans (first word, end) of their names; not empty.
        forms: Phrases that stand for each label, by label number.
        names: The words of each label's name, by label number.
        rng: Draws the label and how it is written.

    Returns:
        The words of the query, single blanks between them, with one name replaced.
    """
    label = sorted(agreed_spans)[int(rng.random() * len(agreed_spans))]
    first, end = agreed_spans[label]
    name = reading.words[first:end]
    how = rng.random()
    others = [form for form in forms[label] if not set(form.split()) & set(names[label])]
    if how < _ALIAS and others:
        new = others[int(rng.random() * len(others))]
    elif how < _MISSPELT:
        new = _misspelt(" ".join(name), rng)
    elif how < _SHORTENED:
        new = _shortened(name, rng)
    else:
        new = UNKNOWN_WORD
    return " ".join([*reading.words[:first], new, *reading.words[end:]])


def _misspelt(text: str, rng: np.random.Generator) -> str:
    """Two letters swapped, one lost, or one doubled."""
    if len(text) < 3:
        return UNKNOWN_WORD
    i, kind = int(rng.random() * (len(text) - 1)), rng.random()
    if kind < 0.4:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i + 1 :] if kind < 0.75 else text[: i + 1] + text[i:]


def _shortened(words: Sequence[str], rng: np.random.Generator) -> str:
    """Initials, the first letters, the consonants, or the first word of several."""
    if len(words) > 1:
        return words[0] if rng.random() < 0.6 else " ".join(word[0] for word in words)
    word = words[0]
    if rng.random() < 0.5:
        return word[:4]
    return word[0] + "".join(letter for letter in word[1:] if letter not in "aeiou")[:3]
