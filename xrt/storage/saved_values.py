"""Values of a saved JSON object, taken out one by one, each with its type and range.

A model's JSON files may come from anybody: what is missing, of another type, or out of range is
refused by name in one line, and nothing is converted in silence.
"""

import math
from enum import Enum
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from xrt.errors import ArtifactError
from xrt.storage.reading import read_json_bounded

MAX_WHOLE = 2**31 - 1
_NEXT = "copy the model again from where it came, or train it anew"
_ABSENT: Any = object()
Choice = TypeVar("Choice", bound=Enum)


class SavedValues:
    """An object of a saved JSON file; `where` names the file, and the place within it."""

    def __init__(self, content: Any, where: str | Path) -> None:
        """Wrap an object.

        Args:
            content: what the file holds.
            where: the file, and the place within it, for messages.

        Raises:
            ArtifactError: `content` is no object.
        """
        self.where = str(where)
        if not isinstance(content, dict):
            raise ArtifactError(f"{where}: an object is needed, not {_shown(content)}; {_NEXT}")
        self.content: dict[str, Any] = content

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The object in a file.

        Args:
            path: the file.

        Returns:
            The object.

        Raises:
            ArtifactError: the file holds no object, or as `read_json_bounded`.
        """
        return cls(read_json_bounded(path), path)

    @classmethod
    def of(cls, content: Any, where: str | Path) -> "SavedValues":
        """An object as such, or one that is wrapped already.

        Args:
            content: a dict, or SavedValues.
            where: the file, and the place within it; not used for SavedValues.

        Returns:
            The object.

        Raises:
            ArtifactError: `content` is neither.
        """
        return content if isinstance(content, SavedValues) else cls(content, where)

    def has(self, name: str) -> bool:
        """Whether there is a value of that name other than null.

        Args:
            name: the key.

        Returns:
            True where there is.
        """
        return self.content.get(name) is not None

    def part(self, name: str) -> "SavedValues":
        """An object within this one.

        Args:
            name: the key.

        Returns:
            The object.

        Raises:
            ArtifactError: there is none.
        """
        return SavedValues(self.content.get(name), f"{self.where}: {name}")

    def parts(self, name: str) -> "list[SavedValues]":
        """A list of objects.

        Args:
            name: the key.

        Returns:
            The objects.

        Raises:
            ArtifactError: there is no list, or something else in it.
        """
        places = enumerate(self._list(name))
        return [SavedValues(each, f"{self.where}: {name}[{i}]") for i, each in places]

    def whole(self, name: str, low: int = 0, high: int = MAX_WHOLE, default: Any = _ABSENT) -> int:
        """A whole number.

        Args:
            name: the key.
            low: the lowest that is allowed.
            high: the highest that is allowed.
            default: what is given where the key is missing; without it the key is required.

        Returns:
            The number.

        Raises:
            ArtifactError: it is missing, no whole number, or out of range.
        """
        value = self._value(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self._fault(name, value, f"a whole number, {low} to {high}, is needed")
        return value

    def number(
        self, name: str, low: float = -math.inf, high: float = math.inf, default: Any = _ABSENT
    ) -> float:
        """A finite number.

        Args:
            name: the key.
            low: the lowest that is allowed.
            high: the highest that is allowed.
            default: what is given where the key is missing; without it the key is required.

        Returns:
            The number.

        Raises:
            ArtifactError: it is missing, no finite number, or out of range.
        """
        return self._number(name, self._value(name, default), low, high)

    def flag(self, name: str, default: Any = _ABSENT) -> bool:
        """True or false.

        Args:
            name: the key.
            default: what is given where the key is missing; without it the key is required.

        Returns:
            The value.

        Raises:
            ArtifactError: it is missing, or neither.
        """
        value = self._value(name, default)
        if type(value) is not bool:
            raise self._fault(name, value, "true or false is needed")
        return value

    def text(self, name: str) -> str:
        """A string.

        Args:
            name: the key.

        Returns:
            The string.

        Raises:
            ArtifactError: it is missing, or no string.
        """
        value = self._value(name, _ABSENT)
        if not isinstance(value, str):
            raise self._fault(name, value, "a string is needed")
        return value

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        """A member of an enum by its value.

        Args:
            name: the key.
            kind: the enum, with strings as values.

        Returns:
            The member.

        Raises:
            ArtifactError: it is missing, or no value of the enum.
        """
        value = self._value(name, _ABSENT)
        choices = {member.value: member for member in kind}
        if not isinstance(value, str) or value not in choices:
            raise self._fault(name, value, f"one of {', '.join(choices)} is needed")
        return choices[value]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, each there once.

        Args:
            name: the key.

        Returns:
            The strings.

        Raises:
            ArtifactError: there is no list, something else in it, or a string twice.
        """
        values = self._list(name)
        if not all(isinstance(each, str) for each in values) or len(set(values)) != len(values):
            raise self._fault(name, values, "a list of different strings is needed")
        return tuple(values)

    def whole_numbers(self, name: str, length: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers, none below 0.

        Args:
            name: the key.
            length: how many there must be; None for any number.

        Returns:
            The numbers.

        Raises:
            ArtifactError: there is no list of that length, or something else in it.
        """
        values = self._list(name, length)
        if not all(type(each) is int and 0 <= each < 2**63 for each in values):
            raise self._fault(name, values, "a list of whole numbers, none below 0, is needed")
        return tuple(values)

    def numbers(self, name: str, *shape: int) -> np.ndarray:
        """A list of finite numbers, or of lists of them.

        Args:
            name: the key.
            *shape: the shape that they must have; -1 for any length.

        Returns:
            float64 of this shape.

        Raises:
            ArtifactError: there is no list, or it holds other values or has another shape.
        """
        value = self._list(name)
        array = _as_numbers(value, shape)
        if array is None:
            sizes = " x ".join("any" if n < 0 else str(n) for n in shape)
            raise self._fault(name, value, f"finite numbers ({sizes}) are needed")
        return array

    def mapping_of_numbers(
        self, name: str, low: float = -math.inf, high: float = math.inf
    ) -> dict[str, float]:
        """An object whose values are finite numbers.

        Args:
            name: the key.
            low: the lowest that is allowed.
            high: the highest that is allowed.

        Returns:
            Number by key.

        Raises:
            ArtifactError: there is no object, or a value is no such number.
        """
        values = self.part(name).content
        return {key: self._number(f"{name}.{key}", each, low, high) for key, each in values.items()}

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if type(value) not in (int, float) or not low <= value <= high or abs(value) > 1e300:
            bounds = "" if (low, high) == (-math.inf, math.inf) else f", {low:g} to {high:g},"
            raise self._fault(name, value, f"a finite number{bounds} is needed")
        return float(value)

    def _list(self, name: str, length: int | None = None) -> list[Any]:
        value = self._value(name, _ABSENT)
        if not isinstance(value, list) or length not in (None, len(value)):
            how_long = "" if length is None else f" of {length}"
            raise self._fault(name, value, f"a list{how_long} is needed")
        return value

    def _value(self, name: str, default: Any) -> Any:
        value = self.content.get(name, default)
        if value is _ABSENT:
            raise ArtifactError(f"{self.where}: {name} is missing; {_NEXT}")
        return value

    def _fault(self, name: str, value: Any, needed: str) -> ArtifactError:
        return ArtifactError(f"{self.where}: {name} = {_shown(value)}: {needed}; {_NEXT}")


def _as_numbers(value: list[Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """Nested lists as an array of this shape (-1: any); None where they are no such numbers."""
    if not _has_numbers_only(value):
        return None
    try:
        array = np.array(value, np.float64)
    except (ValueError, OverflowError):  # lists of different lengths; a number too large
        return None
    if array.size == 0 and 0 in shape and -1 not in shape:  # [] says nothing of what it lacks
        array = array.reshape(shape)
    fits = array.ndim == len(shape) and all(
        size in (-1, actual) for size, actual in zip(shape, array.shape, strict=True)
    )
    return array if fits and np.isfinite(array).all() else None


def _has_numbers_only(value: Any) -> bool:
    if isinstance(value, list):
        return all(_has_numbers_only(each) for each in value)
    return type(value) in (int, float)


def _shown(value: Any) -> str:
    text = repr(value) if type(value) is not int or abs(value) < 10**50 else "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."
