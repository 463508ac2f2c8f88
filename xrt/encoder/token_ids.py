"""Texts to the ids of their first tokens: the one place where a tokenizer is called.

A tokenizer reads a text to its end before it cuts it, so a text of megabytes would take seconds and
gigabytes for its first hundred tokens. Texts are therefore cut by characters first, generously:
the tokens are those of the whole text, except where `max_length` tokens take more than
`MOST_CHARS_PER_TOKEN` characters each or `MOST_CHARS` together (a megabyte of blanks, say).
"""

from collections.abc import Sequence
from typing import Any

from xrt.features.ngrams.text import whole

CHARS_PER_TOKEN = 16
"""Characters a token of the first cut; words of natural languages have 4 to 6 a token."""
MOST_CHARS_PER_TOKEN = 1024
"""Characters a token that are read at the most."""
MOST_CHARS = 1 << 20
"""Characters of a text that are read at the most."""
MAX_WORD = 256
"""A cut is made at a blank where one is so near; WordPiece drops words above 100 characters."""


def token_ids(
    texts: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[list[list[int]], list[bool]]:
    """The ids of each text's tokens, and whether the text was longer.

    Args:
        texts: What to read. Half a surrogate pair, which no tokenizer takes, is read as U+FFFD.
        tokenizer: The encoder's own, of transformers.
        max_length: Tokens that are read, special ones included.

    Returns:
        Two lists of N: ids, at most `max_length` of them; True where the text has more tokens.
    """
    from_end = getattr(tokenizer, "truncation_side", "right") == "left"
    first = max(4 * MAX_WORD, CHARS_PER_TOKEN * max_length)
    limit = max(first, min(MOST_CHARS_PER_TOKEN * max_length, MOST_CHARS))
    heads = [_head(text, first, from_end) for text in texts]
    rows, longer = _call(tokenizer, heads, max_length)
    # a head with room for more tokens did not say all: the text has long words or many blanks
    short = [
        i
        for i, (text, head) in enumerate(zip(texts, heads, strict=True))
        if len(head) < len(text) and len(rows[i]) < max_length
    ]
    if short:
        again = [_head(texts[i], limit, from_end) for i in short]
        for i, row, more in zip(short, *_call(tokenizer, again, max_length), strict=True):
            rows[i], longer[i] = row, more or len(texts[i]) > limit
            heads[i] = texts[i]
    for i, (text, head) in enumerate(zip(texts, heads, strict=True)):
        longer[i] = longer[i] or len(head) < len(text)
    return rows, longer


def _call(tokenizer: Any, texts: list[str], max_length: int) -> tuple[list[list[int]], list[bool]]:
    """What the tokenizer makes of some texts."""
    coded = tokenizer(
        [whole(text) for text in texts], truncation=True, max_length=max_length,
        return_token_type_ids=False, return_attention_mask=False,
    )  # fmt: skip
    rows = coded["input_ids"]
    if coded.encodings is not None:
        return rows, [bool(encoding.overflowing) for encoding in coded.encodings]
    # tokenizers in pure Python do not say; a full row counts
    return rows, [len(row) >= max_length for row in rows]


def _head(text: str, limit: int, from_end: bool) -> str:
    """The first `limit` characters of a text, or the last; cut at a blank where one is near, so
    that its words are whole.
    """
    if len(text) <= limit:
        return text
    if from_end:
        blank = text.find(" ", len(text) - limit, len(text) - limit + MAX_WORD)
        return text[blank if blank >= 0 else len(text) - limit :]
    blank = text.rfind(" ", limit - MAX_WORD, limit)
    return text[: blank if blank >= 0 else limit]
