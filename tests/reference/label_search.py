"""Type-ahead by looking at every label: slow, obviously right."""

import re
import unicodedata


def plain(text: str) -> str:
    """Without case and accents."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", kept).replace("ø", "o").replace("æ", "ae")


def find_labels(ids: list[str], names: list[str], query: str) -> tuple[set[str], set[str]]:
    """Labels that have a name, an id or a word of a name that begins with the query; those that
    have it anywhere.
    """
    wanted = plain(query)
    starts, anywhere = set(), set()
    for id, name in zip(ids, names, strict=True):
        of_id, of_name = plain(id), plain(name)
        begins = [m.start() for m in re.finditer(re.escape(wanted), of_name)]
        if of_id.startswith(wanted) or any(
            i == 0 or not (of_name[i - 1].isalnum() or ord(of_name[i - 1]) > 127) for i in begins
        ):
            starts.add(id)
        if begins or wanted in of_id:
            anywhere.add(id)
    return starts, anywhere
