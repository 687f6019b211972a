"""The fields of somebody's config.json, each checked as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tracr_tasks.errors import TargetError
from zoo.files import read_json, shown
from zoo.target_files import MAX_SIZE, refused

MAX_CONFIG_BYTES = 1 << 20
T = TypeVar("T")


class Fields:
    """An object of JSON. A field without a default must be there; null counts as absent."""

    def __init__(self, values: Mapping[str, Any], path: Path):
        self.values = values
        self.path = path
        self.where = shown(path, 300)

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Parse a file.

        Raises:
            TargetError: not a file of JSON with an object in it.
        """
        values = read_json(path, MAX_CONFIG_BYTES, TargetError)
        if not isinstance(values, dict):
            raise TargetError(f"{shown(path, 300)}: got {type(values).__name__}, expected an object of fields")
        return cls(values, path)

    def integer(self, name: str, default: int | None = None, low: int = 1, high: int = MAX_SIZE) -> int:
        """A whole number from `low` to `high`."""
        value = self._value(name, default)
        if type(value) is not int or not low <= value <= high:
            raise refused(self.where, name, value, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, default: float | None = None, low: float | int = 0, high: float | int = 1e12) -> float:
        """A number from `low` to `high`."""
        value = self._value(name, default)
        if type(value) not in (int, float) or not low <= value <= high:
            raise refused(self.where, name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """A truth value."""
        value = self._value(name, default)
        if type(value) is not bool:
            raise refused(self.where, name, value, "true or false")
        return value

    def choice(self, name: str, options: Mapping[str, T], default: str | None = None) -> T:
        """What the field's text stands for."""
        value = self._value(name, default)
        if not isinstance(value, str) or value not in options:
            raise refused(self.where, name, value, f"one of {', '.join(options)}")
        return options[value]

    def expect(self, name: str, *allowed: Any) -> None:
        """The field is absent or has one of the values that change nothing for us.

        Raises:
            TargetError: it has another.
        """
        value = self.values.get(name)
        if value is not None and not any(type(value) is type(a) and value == a for a in allowed):
            wanted = " or ".join(["nothing", *(repr(a) for a in allowed)])
            raise refused(self.where, name, value, f"{wanted}: it is not supported")

    def table(self, name: str) -> Fields:
        """A nested object, empty where it is absent."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise refused(self.where, name, value, "an object")
        return Fields(value or {}, self.path)

    def texts(self, name: str, high: int = MAX_SIZE) -> tuple[str, ...]:
        """A list of at most `high` strings, empty where it is absent."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > high or not all(isinstance(item, str) for item in value):
            raise refused(self.where, name, value, f"a list of up to {high} strings")
        return tuple(value)

    def _value(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None and default is None:
            raise TargetError(f"{self.where}: field '{name}' is missing")
        return default if value is None else value
