"""Arithmetic with the steps spelled digit by digit."""

from __future__ import annotations

import random

from dspark_local.demo.domains.turn import Turn, casual, pick

NAMES = ("Ada Ben Cleo Dan Eva Finn Gus Hana Ivo Jana Kim Leo Mia Nora Otto Pia Rosa Sam Tom Una Vera Zoe").split()
THINGS = "apples books coins pens shells stones cards eggs cups keys nuts stamps".split()

_ADD = (
    "What is {a} + {b}?", "Add {a} and {b}.", "Compute {a} + {b}.", "{a} + {b} = ?", "{a}+{b}?",
    "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "What is {a} plus {b}?",
    "Calculate {a} + {b}.", "Please add {a} and {b}.",
)  # fmt: skip
_SUB = (
    "What is {a} - {b}?", "Subtract {b} from {a}.", "Compute {a} - {b}.", "{a} - {b} = ?",
    "How much is {a} minus {b}?", "What is {a} minus {b}?", "Calculate {a} - {b}.", "{a}-{b}?",
    "What is the difference of {a} and {b}?",
)  # fmt: skip
_MUL = (
    "What is {a} * {b}?", "Multiply {a} by {b}.", "Compute {a} * {b}.", "{a} * {b} = ?",
    "How much is {a} times {b}?", "What is {a} times {b}?", "Calculate {a} * {b}.", "{a}*{b}?",
    "What is {a} x {b}?", "What is the product of {a} and {b}?",
)  # fmt: skip
_GAIN = (
    "{n} has {a} {t} and gets {b} more. How many {t} does {n} have now?",
    "{n} finds {a} {t}, then {b} more {t}. How many {t} are there?",
    "There are {a} {t} in a box. {n} adds {b} {t}. How many {t} are in the box?",
)
_LOSE = (
    "{n} has {a} {t} and gives away {b}. How many {t} are left?",
    "{n} had {a} {t} and lost {b} of them. How many {t} remain?",
    "There are {a} {t} in a box. {n} takes {b} {t}. How many {t} are left?",
)
_TIMES = (
    "{n} buys {a} boxes with {b} {t} each. How many {t} is that?",
    "There are {a} bags and each bag has {b} {t}. How many {t} are there?",
)


def add_steps(a: int, b: int) -> str:
    """Column addition, ones first."""
    ones = a % 10 + b % 10
    lines = [f"Ones: {a % 10} + {b % 10} = {ones}"]
    carry = ones // 10
    lines[0] += f", write {ones % 10}, carry {carry}."
    left, right = a // 10, b // 10
    tens = left + right + carry
    lines.append(f"Tens: {left} + {right} + {carry} = {tens}.")
    return "\n".join(lines)


def sub_steps(a: int, b: int) -> str:
    """Column subtraction with borrowing, ones first."""
    x, y = a % 10, b % 10
    borrow = int(x < y)
    shown = x + 10 * borrow
    first = f"Ones: {shown} - {y} = {shown - y}, borrow {borrow}."
    return f"{first}\nTens: {a // 10} - {b // 10} - {borrow} = {a // 10 - b // 10 - borrow}."


def mul_steps(a: int, b: int) -> str:
    """Product of a one-digit and an up to two-digit number, by tens and ones."""
    if b < 10:
        return f"{a} times {b} is {a * b}."
    tens, ones = b // 10 * 10, b % 10
    return f"{a} * {tens} = {a * tens}.\n{a} * {ones} = {a * ones}.\n{a * tens} + {a * ones} = {a * b}."


def _operands(rng: random.Random, op: str) -> tuple[int, int]:
    """Numbers whose result is not negative; small ones are kept frequent."""
    if op == "*":
        a = rng.randint(2, 9)
        return (a, rng.randint(2, 10)) if rng.random() < 0.5 else (a, rng.randint(11, 30))
    top = 20 if rng.random() < 0.15 else 99
    a, b = rng.randint(1, top), rng.randint(1, top)
    if op == "-" and a < b:
        a, b = b, a
    return a, b


_KINDS = (
    ("+", _ADD, _GAIN, add_steps),
    ("-", _SUB, _LOSE, sub_steps),
    ("*", _MUL, _TIMES, mul_steps),
)


def sample(rng: random.Random) -> Turn:
    """One arithmetic question."""
    op, plain, stories, steps = _KINDS[rng.choices((0, 1, 2), (4, 3, 3))[0]]
    a, b = _operands(rng, op)
    result = {"+": a + b, "-": a - b, "*": a * b}[op]
    if rng.random() < 0.25:
        _, form = pick(rng, stories)
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        question = form.format(a=a, b=b, n=name, t=thing)
        final = f"{a} {op} {b} = {result}. The answer is **{result} {thing}**."
    else:
        _, form = pick(rng, plain)
        _, question = casual(rng, form.format(a=a, b=b))
        final = f"{a} {op} {b} = **{result}**"
    work = steps(a, b)
    # The key ignores the phrasing: held-out operands are new in every wording.
    key = f"{op} {a} {b}"
    return Turn("math", key, question, f"{work}\n{final}", work, final)
