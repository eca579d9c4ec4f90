"""Random JSON schemas whose texts are short enough for a model that chooses at random."""

from __future__ import annotations

import random
from typing import Any


def random_schema(seed: int) -> dict[str, Any]:
    """An object of one to four properties, nested two levels at most."""
    return _object(random.Random(seed), 2)


def _object(dice: random.Random, depth: int) -> dict[str, Any]:
    names = dice.sample(["name", "age", "größe", "a b", 'quo"te', "items", "x", "kind"], dice.randint(1, 4))
    required = [name for name in names if dice.random() < 0.7]
    properties = {name: _value(dice, depth - 1) for name in names}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _value(dice: random.Random, depth: int) -> dict[str, Any]:
    low = dice.randint(-50, 50)
    leaves: list[dict[str, Any]] = [
        {"type": "boolean"},
        {"type": "null"},
        {"type": "integer", "minimum": low, "maximum": low + dice.randint(0, 2000)},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 10},
        {"type": "string", "maxLength": dice.randint(0, 6)},
        {"type": "string", "minLength": 2, "maxLength": 5},
        {"type": "string", "pattern": "^[a-f]{2,4}$"},
        {"type": "string", "format": "date"},
        {"enum": dice.sample(["red", "grün", 7, None, True, "a\nb", 1.5], 3)},
        {"const": dice.choice(["fixed", 0, False])},
        {"type": ["string", "null"], "maxLength": 3},
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "string", "enum": ["none"]}]},
    ]
    if depth == 0 or dice.random() < 0.6:
        return dice.choice(leaves)
    if dice.random() < 0.5:
        return _object(dice, depth)
    fewest = dice.randint(0, 2)
    return {
        "type": "array",
        "items": _value(dice, depth - 1),
        "minItems": fewest,
        "maxItems": fewest + dice.randint(0, 2),
    }
