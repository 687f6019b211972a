"""Whether a zoo may be built on with another spec: the same one, or one that asks for more targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tracr_tasks.errors import ZooError
from zoo.chunks import stem_of
from zoo.fields import differences
from zoo.parts import REGIMES, Growth
from zoo.spec import ZooSpec


def grown(old: ZooSpec, new: ZooSpec, where: str) -> ZooSpec:
    """The spec to go on with in a zoo that was built from `old`: `old` itself, or with the counts of `new`.

    Raises:
        ZooError: `new` asks for fewer targets or differs in anything but the counts; the message gives the difference.
    """
    before, after = _counts(old), _counts(new)
    fewer = [stem for stem, count in before.items() if after.get(stem, 0) < count]
    recipes = differences(_recipe(old, new), _recipe(new, new))
    if fewer or recipes:
        counts = differences(before, {stem: after.get(stem, 0) for stem in before}) if fewer else []
        raise ZooError(
            f"{where}: built from another spec ({'; '.join([*counts, *recipes])}); a zoo can only grow in its counts, "
            "use another folder"
        )
    if before == after:
        return old
    ends = dict(old.growth.ends) if old.growth else {}
    for stem, count in before.items():
        if after[stem] > count:
            ends[stem] = (*ends.get(stem, ()), count)
    return replace(new, name=old.name, growth=Growth(old.origin(), ends))


def _counts(spec: ZooSpec) -> dict[str, int]:
    return {stem_of(part, regime): count for part, regime, count in spec.counts()}


def _recipe(spec: ZooSpec, new: ZooSpec) -> dict[str, Any]:
    """Everything but the name and the counts; how it grew only where the new spec says so."""
    fields = spec.to_json()
    left_out = {"name", "size", *REGIMES} | (set() if new.growth else {"growth"})
    parts = [{k: v for k, v in part.items() if k not in REGIMES} for part in fields.get("parts", [])]
    kept = {key: value for key, value in fields.items() if key not in left_out}
    return kept | ({"parts": {part["name"]: part for part in parts}} if parts else {})
