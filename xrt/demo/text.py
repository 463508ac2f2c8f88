"""Words a shop would use for one product: title and, at times, a description."""

from typing import NamedTuple

from xrt.demo.brands import Brand
from xrt.demo.vocabulary import ProductType, Vocabulary

# Cumulated shares of titles that name the maker in full, shortened, or only by a product line.
_LITERAL, _SHORT, _LINE = 0.62, 0.70, 0.93
_NEIGHBOURS = dict(zip("abcdefghijklmnopqrstuvwxyz", "svxfrghjokkljmpoawdryczzhx", strict=True))
_SENTENCES = (
    "{Noun} for {use}. {Feature}, made to last.",
    "Ideal for {use}. This {noun} is {feature}.",
    "{Feature} {noun} by {brand}, made for {use}.",
    "A {feature} {noun}. Loved for {use}.",
    "From the {line} range. {Feature}; good for {use}.",
    "{brand} {line}: the {noun} for {use}.",
)
_OTHER_SENTENCES = (
    "Easy to clean.",
    "Delivered in plain packaging.",
    "Returns within 30 days.",
    "Colour may differ slightly from the picture.",
    "Our customers' choice.",
    "Item may ship separately.",
)


class Wording(NamedTuple):
    """What a title says of its product, as positions: a noun, or else a use; a feature or -1."""

    noun: int
    use: int
    feature: int


def wording(product: ProductType, u: list[float]) -> Wording:
    """How the title made from these draws names the product; `noun` is -1 where it does not.

    Args:
        product: what is sold.
        u: the draws of the title, each in [0, 1).

    Returns:
        Places of noun, use and feature in the product's lists; -1 for none.
    """
    use = int(u[4] * len(product.uses)) if u[22] < 0.06 else -1
    noun = _place(product.nouns, u[4]) if use < 0 else -1
    feature = int(u[5] * len(product.features)) if u[6] < 0.7 else -1
    return Wording(noun, use, feature)


class TitleWriter:
    """Writes title and description from a product and `NUM_DRAWS` uniform draws in [0, 1).

    Args:
        vocabulary: forms of colours, sizes and fillers.
        brands: the brands, in the order of their places.
    """

    NUM_DRAWS = 24

    def __init__(self, vocabulary: Vocabulary, brands: list[Brand]) -> None:
        self.brands = brands
        self.color_words = vocabulary.words["colors"]
        self.filler = vocabulary.words["filler"]["title"]
        self.abbreviations = {k: v[0] for k, v in vocabulary.words["abbreviations"].items()}
        self.size_forms = size_forms(vocabulary)
        self._shortened: dict[str, str] = {}

    def write(
        self,
        product: ProductType,
        brand_index: int,
        color: str,
        size: str,
        price: float | None,
        u: list[float],
    ) -> tuple[str, str]:
        """Title and content of a product.

        Args:
            product: what is sold.
            brand_index: place of its brand.
            color: its colour; '' for none.
            size: its size; '' for none.
            price: its price; None for none.
            u: draws, NUM_DRAWS of them, each in [0, 1).

        Returns:
            Title and content; the content is '' for about six rows of ten.
        """
        brand = self.brands[brand_index]
        line = brand.lines[int(u[0] * len(brand.lines))]
        maker, range_name = _maker_words(brand, line, u[1], u[2], u[3])
        said = wording(product, u)
        noun = product.nouns[said.noun] if said.noun >= 0 else f"for {product.uses[said.use]}"
        feature = product.features[said.feature] if said.feature >= 0 else ""
        color_word = skewed(self.color_words[color], u[7]) if color and u[8] < 0.9 else ""
        size_word = skewed(self.size_forms[size], u[9]) if size and u[10] < 0.9 else ""
        filler = self.filler[int(u[11] * 9.99)] if u[12] < 0.08 else ""
        tail = f"{price:.2f}" if price is not None and u[13] < 0.06 else ""
        order = u[14]
        if order < 0.55:
            words = (maker, range_name, feature, noun, color_word, size_word, filler, tail)
        elif order < 0.75:
            words = (maker, range_name, noun, feature, size_word, color_word, filler, tail)
        elif order < 0.9:
            words = (filler, feature, noun, size_word, color_word, maker, range_name, tail)
        else:
            words = (color_word, noun, "-", maker, range_name, size_word, feature, tail)
        title = " ".join([word for word in words if word])
        if u[15] < 0.15:
            title = self._shorten(title)
        title = _cased(title, u[16])
        if u[17] < 0.18:
            title = with_typo(title, u[18], u[19])
        if u[20] >= 0.38:
            return title, ""
        return title, self._content(product, brand, line, u)

    def _content(self, product: ProductType, brand: Brand, line: str, u: list[float]) -> str:
        feature = product.features[int(u[21] * len(product.features))]
        noun = product.nouns[int(u[22] * len(product.nouns))]
        sentence = _SENTENCES[int(u[23] * len(_SENTENCES))].format(
            Noun=noun[0].upper() + noun[1:],
            noun=noun,
            Feature=feature[0].upper() + feature[1:],
            feature=feature,
            use=product.uses[int(u[19] * len(product.uses))],
            brand=brand.name if u[3] < 0.6 else "our own workshop",
            line=line,
        )
        if u[18] < 0.5:
            sentence += " " + _OTHER_SENTENCES[int(u[18] * 2 * len(_OTHER_SENTENCES))]
        return sentence

    def _shorten(self, title: str) -> str:
        for word, short in self.abbreviations.items():
            if word in title:
                return title.replace(word, short)
        return title


def _maker_words(brand: Brand, line: str, how: float, form: float, also: float) -> tuple[str, str]:
    """The maker's name as the title has it ('' where it does not), and the line or ''."""
    if how < _LITERAL:
        name = brand.short_forms[0 if form < 0.75 else 1 if form < 0.9 else 2]
        return name, line if also < 0.3 else ""
    if how < _SHORT:
        return brand.short_forms[3 if form < 0.5 else 4], line if also < 0.5 else ""
    return "", line if how < _LINE else ""


def _place(forms: tuple[str, ...], draw: float) -> int:
    """The first form most often (of three, in 58 % of cases), the later ones ever more rarely."""
    return int(draw * draw * len(forms))


def skewed(forms: tuple[str, ...], draw: float) -> str:
    """One of the forms, the first most often, as `_place` says.

    Args:
        forms: the forms, the usual one first.
        draw: a number in [0, 1).

    Returns:
        The form.
    """
    return forms[_place(forms, draw)]


def _cased(title: str, draw: float) -> str:
    if draw < 0.5:
        return " ".join([word[:1].upper() + word[1:] for word in title.split(" ")])
    if draw < 0.72:
        return title.lower()
    return title.upper() if draw < 0.8 else title


def with_typo(title: str, where: float, kind: float) -> str:
    """One slip of the finger: letters swapped, one lost, doubled, or hit beside.

    Args:
        title: the title, of two letters or more.
        where: a number in [0, 1): the place.
        kind: a number in [0, 1): the slip.

    Returns:
        The title; unchanged where no two letters stand at the place.
    """
    i = int(where * (len(title) - 1))
    if not (title[i].isalpha() and title[i + 1].isalpha()):
        return title
    if kind < 0.3:
        return title[:i] + title[i + 1] + title[i] + title[i + 2 :]
    if kind < 0.6:
        return title[:i] + title[i + 1 :]
    if kind < 0.8:
        return title[: i + 1] + title[i:]
    return title[:i] + _NEIGHBOURS.get(title[i].lower(), "x") + title[i + 1 :]


def size_forms(vocabulary: Vocabulary) -> dict[str, tuple[str, ...]]:
    """How each size is written, the usual form first: "26 cm", "26cm", "26 CM", ...

    Args:
        vocabulary: its units and sizes.

    Returns:
        The forms by size.
    """
    units = vocabulary.words["units"]
    forms: dict[str, tuple[str, ...]] = {}
    for sizes in vocabulary.words["sizes"].values():
        for size in sizes:
            number, _, unit = size.rpartition(" ")
            if unit not in units:
                forms[size] = (size, f"size {size}") if size.isupper() else (size,)
                continue
            spaced = tuple(f"{number} {form}" for form in units[unit])
            joined = tuple(f"{number}{form}" for form in units[unit])
            forms[size] = tuple(pair for both in zip(spaced, joined, strict=True) for pair in both)
    return forms
