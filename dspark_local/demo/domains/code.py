"""Short Python functions whose names and numbers are copied from the request."""

from __future__ import annotations

import random

from dspark_local.demo.domains.turn import Turn, casual, invented, pick

VERBS = "get make find count check build read scan load pick join sort move fold trim".split()
NOUNS = ("items rows words users files values points lines pairs names marks tags scores sizes cells days").split()
ARGS = "values items data rows words numbers xs seq things entries".split()
SCALARS = "x n value num amount size k total".split()

# (request, what it says in thinking mode, body); {f} function, {s} scalar argument,
# {v} list argument, {n} and {m} numbers.
_SCALAR = (
    ("adds {n} to {s}", "return {s} + {n}"),
    ("subtracts {n} from {s}", "return {s} - {n}"),
    ("multiplies {s} by {n}", "return {s} * {n}"),
    ("divides {s} by {n}", "return {s} / {n}"),
    ("returns the remainder of {s} divided by {n}", "return {s} % {n}"),
    ("checks if {s} is greater than {n}", "return {s} > {n}"),
    ("checks if {s} is less than {n}", "return {s} < {n}"),
    ("checks if {s} is equal to {n}", "return {s} == {n}"),
    ("checks if {s} is divisible by {n}", "return {s} % {n} == 0"),
    ("checks if {s} is even", "return {s} % 2 == 0"),
    ("checks if {s} is odd", "return {s} % 2 == 1"),
    ("returns the square of {s}", "return {s} * {s}"),
    ("returns the absolute value of {s}", "return abs({s})"),
    ("raises {s} to the power of {n}", "return {s} ** {n}"),
    ("multiplies {s} by {n} and adds {m}", "return {s} * {n} + {m}"),
    ("prints {s} {n} times", "for _ in range({n}):\n        print({s})"),
    ("limits {s} to at most {n}", "return min({s}, {n})"),
    ("returns {s} but at least {n}", "return max({s}, {n})"),
)
_LIST = (
    ("returns the sum of {v}", "return sum({v})"),
    ("returns the length of {v}", "return len({v})"),
    ("returns the largest element of {v}", "return max({v})"),
    ("returns the smallest element of {v}", "return min({v})"),
    ("returns {v} in reverse order", "return {v}[::-1]"),
    ("sorts {v}", "return sorted({v})"),
    ("returns the first {n} elements of {v}", "return {v}[:{n}]"),
    ("returns the last {n} elements of {v}", "return {v}[-{n}:]"),
    ("returns the average of {v}", "return sum({v}) / len({v})"),
    ("keeps the elements of {v} greater than {n}", "return [x for x in {v} if x > {n}]"),
    ("keeps the elements of {v} less than {n}", "return [x for x in {v} if x < {n}]"),
    ("removes every {n} from {v}", "return [x for x in {v} if x != {n}]"),
    ("multiplies every element of {v} by {n}", "return [x * {n} for x in {v}]"),
    ("adds {n} to every element of {v}", "return [x + {n} for x in {v}]"),
    ("counts how often {n} occurs in {v}", "return {v}.count({n})"),
    ("checks if {n} is in {v}", "return {n} in {v}"),
    ("removes duplicates from {v}", "return list(set({v}))"),
    (
        "sums the even numbers in {v}",
        "total = 0\n    for x in {v}:\n        if x % 2 == 0:\n            total += x\n    return total",
    ),
    (
        "counts the elements of {v} greater than {n}",
        "count = 0\n    for x in {v}:\n        if x > {n}:\n            count += 1\n    return count",
    ),
)
_ASK = (
    "Write a Python function {f} that {w}.", "Write a function {f} that {w}.",
    "Write a Python function called {f} that {w}.", "I need a function {f} that {w}.",
    "Please write a function named {f} that {w}.", "Give me a Python function {f} that {w}.",
    "Can you write a function {f} that {w}?", "Define a function {f} that {w}.",
    "Code a Python function {f} that {w}.",
)  # fmt: skip

# A request without a name gets this one, and general words for the argument.
UNNAMED = "solve"
_ASK_UNNAMED = (
    "Write a Python function that {w}.", "Write a function that {w}.", "Write a Python function to {i}.",
    "Write a function to {i}.", "Give me a Python function that {w}.", "I need a function to {i}.",
    "Can you write a function to {i}?", "Please write Python code to {i}.", "How do I {i} in Python?",
    "Write Python function to {i}.", "Code to {i}.",
)  # fmt: skip


def infinitive(work: str) -> str:
    """ "adds 3 to x" as "add 3 to x"."""
    first, rest = work.split(" ", 1)
    first = {"multiplies": "multiply", "raises": "raise"}.get(first, first.removesuffix("s"))
    return f"{first} {rest.replace(' and adds ', ' and add ')}"


def _unnamed(rng: random.Random, what: str, body: str, slots: dict[str, object]) -> Turn:
    """A request that names neither the function nor, mostly, its argument."""
    code_slots = slots | {"s": "x", "v": "values"}
    general = rng.random() < 0.7
    asked = slots | ({"s": "a number", "v": "a list"} if general else {"s": "x", "v": "values"})
    work = what.format(**asked)
    argument = "values" if "{v}" in what else "x"
    ask = rng.choice(_ASK_UNNAMED)
    _, question = casual(rng, ask.format(w=work, i=infinitive(work)))
    code = f"```python\ndef {UNNAMED}({argument}):\n    {body.format(**code_slots)}\n```"
    reasoning = f"The function {UNNAMED} takes {argument}. It {what.format(**code_slots)}."
    return Turn("code", f"{UNNAMED} {ask} {work}", question, code, reasoning)


def sample(rng: random.Random) -> Turn:
    """One request for a function."""
    listy = rng.random() < 0.5
    _, (what, body) = pick(rng, _LIST if listy else _SCALAR)
    n = rng.randint(2, 9) if rng.random() < 0.4 else rng.randint(10, 99)
    slots: dict[str, object] = {"s": rng.choice(SCALARS), "v": rng.choice(ARGS), "n": n, "m": rng.randint(1, 20)}
    if rng.random() < 0.25:
        return _unnamed(rng, what, body, slots)
    name = f"{rng.choice(VERBS)}_{rng.choice(NOUNS)}"
    if rng.random() < 0.4:
        name = invented(rng, 2) + rng.choice(("", f"_{rng.choice(NOUNS)}", f"_{invented(rng, 2)}"))
    argument = slots["v"] if listy else slots["s"]
    work = what.format(**slots)
    _, ask = pick(rng, _ASK)
    _, question = casual(rng, ask.format(f=name, w=work))
    code = f"```python\ndef {name}({argument}):\n    {body.format(**slots)}\n```"
    reasoning = f"The function {name} takes {argument}. It {work}."
    key = f"{name} {work}"
    return Turn("code", key, question, code, reasoning)
