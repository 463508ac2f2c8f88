"""Texts as scraped data, hostile users and broken programs send them, by a seed."""

import random

WORDS = ("red", "mug", "large", "lamp", "été", "東京", "शर्ट", "قميص", "Straße", "İstanbul", "ﬁne")
SIGNS = (
    "\0", "\x01", "\x1b[31m", "\x7f", "\x85", "\t", "\r\n", "\u2028", "\u2029", "\ufeff", "\u00ad",
    "\u200b", "\u200d", "\u202e", "\u2066", "\u2069", "\ud800", "\udfff", "\ud83d", "\udc00\ud83d",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U000e0001", "\ufffe",
    "\U0010ffff", "e\u0301", "\u0301", "a\u0300\u0316\u0317" * 20, "\u1100\u1161\u11a8", "ﷺ", "ẞ",
    "<script>", "&amp;", "%s", "{}", "\\ud800", "'; --", "=1+1", "[UNK]", "[CLS]", "<s>", "</s>",
    "##ing", "1e400", "-0", "NaN", "null", "", " ", "\u3000", "９", "½", "٣",
)  # fmt: skip


def torture_texts(count: int, seed: int, longest: int) -> list[str]:
    """`count` texts, mostly short; the longest have about `longest` characters."""
    rng = random.Random(seed)
    return [_text(rng, longest) for _ in range(count)]


def _text(rng: random.Random, longest: int) -> str:
    kind = rng.random()
    if kind < 0.55:
        pieces = rng.choices((*WORDS, *SIGNS), k=rng.randrange(0, 12))
        return rng.choice(("", " ")).join(pieces)
    if kind < 0.7:
        return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(1, 200)))
    if kind < 0.85:
        return rng.choice(SIGNS) * rng.randrange(1, 2000)
    if kind < 0.97:
        return rng.choice(WORDS) * rng.randrange(1, 3000)
    piece = rng.choice((*WORDS, *SIGNS)) + rng.choice(("", " "))
    return piece * (longest // max(len(piece), 1))
