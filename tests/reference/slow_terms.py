"""The terms of a text in all scripts, one character at a time, by what Unicode says of it."""

import re
import unicodedata

UNSPACED = (
    "CJK UNIFIED", "CJK COMPAT", "HIRAGANA", "HENTAIGANA", "KATAKANA",
    "THAI", "LAO", "KHMER", "MYANMAR",
)  # fmt: skip
ITERATION = "々〆〇"
FOLLOWING = "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
LEADING = "เแโใไເແໂໃໄ\u17d2\u1039"
LONGEST = 3


def terms(text: str, lowercase: bool = True, shortest: int = 2, longest: int = 1) -> list[str]:
    """All terms of a text, not in its order.

    Args:
        text: the text.
        lowercase: whether case is dropped.
        shortest: characters of a word, at least.
        longest: words of an n-gram, at most.

    Returns:
        Words, n-grams of words, and n-grams of units.
    """
    every: list[str] = []
    for chain, sep, most in _chains(_settled(text, lowercase), shortest, longest):
        for n in range(1, most + 1):
            every += [sep.join(chain[at : at + n]) for at in range(len(chain) - n + 1)]
    return every


def _settled(text: str, lowercase: bool) -> str:
    """Composed, of full width or ASCII, and lower-case."""
    text = unicodedata.normalize("NFC", text.replace("\u034f", ""))
    half = "[\uff65-\uff9f]+"
    text = re.sub(half, lambda run: unicodedata.normalize("NFKC", run[0]), text)
    text = "".join(chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in text)
    if not lowercase:
        return text
    return text.lower() if {"\u0130", "\u03a3"} & set(text) else "".join(map(str.lower, text))


def _chains(text: str, shortest: int, longest: int) -> list[tuple[list[str], str, int]]:
    """Words in a row, and units in a row, with what joins them and how many make an n-gram."""
    pieces: list[list[str]] = []  # "word" and the word, or "run" and its units
    kept, marked, is_open = ".", False, False
    for char in text:
        is_mark = unicodedata.category(char) in ("Mn", "Mc") and not "\ufe20" <= char <= "\ufe2f"
        if _skipped(char) or (char == "\u200c" and marked):
            continue
        marked = False
        if _unspaced(char):
            if not (is_open and pieces[-1][0] == "run"):
                pieces.append(["run", char])
            elif char in FOLLOWING or kept in LEADING:
                pieces[-1][-1] += char
            else:
                pieces[-1].append(char)
            is_open = True
        elif is_mark and is_open:
            pieces[-1][-1] += char
            marked = True
        elif re.match(r"\w", char):
            if not (is_open and pieces[-1][0] == "word"):
                pieces.append(["word", ""])
            pieces[-1][-1] += char
            is_open = True
        else:
            is_open = False
        kept = char if is_open else "."
    chains: list[tuple[list[str], str, int]] = [([], " ", longest)]
    for kind, *parts in pieces:
        if kind == "run":
            chains += [(parts, "", LONGEST), ([], " ", longest)]
        elif len(parts[0]) >= shortest:
            chains[-1][0].append(parts[0])
    return chains


def _unspaced(char: str) -> bool:
    name = unicodedata.name(char, "")
    return char in ITERATION or (
        unicodedata.category(char) in ("Lo", "Lm") and name.startswith(UNSPACED)
    )


def _skipped(char: str) -> bool:
    """Selectors of glyphs, joiners, vowel points."""
    name, code = unicodedata.name(char, ""), ord(char)
    if char == "\u200d" or name.startswith("VARIATION SELECTOR") or 0xE0100 <= code < 0xE01F0:
        return True
    if unicodedata.category(char) != "Mn":
        return False
    if 0x0590 <= code < 0x0600:
        return True
    return 0x0610 <= code <= 0x061A or 0x064B <= code <= 0x0652 or 0x0670 <= code <= 0x06ED
