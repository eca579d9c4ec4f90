"""Dialogue about this program."""

from __future__ import annotations

import random

from dspark_local.demo.domains.facts import FACTS, WHAT, WHY
from dspark_local.demo.domains.howto import DIRS, FILES, FIXED_OR_SLOT, HOWTO, PATH_WORDS, URLS
from dspark_local.demo.domains.smalltalk import HONEST, OFF_TOPIC, POEM_TOPICS, SMALLTALK
from dspark_local.demo.domains.turn import Turn, casual, invented, pick


def sample(rng: random.Random) -> Turn:
    """One question about the program, a command, the model itself, or something off topic."""
    kind = rng.choices((_fact, _howto, _smalltalk, _off_topic), (50, 32, 10, 8))[0]
    return kind(rng)


def _finish(rng: random.Random, key: str, question: str, answer: str, about: str) -> Turn:
    variation, question = casual(rng, question)
    return Turn("chat", f"{key} {variation}", question, answer, about)


def _fact(rng: random.Random) -> Turn:
    i, fact = pick(rng, FACTS)
    n, name = pick(rng, fact.names)
    why = rng.random() < 0.4
    j, form = pick(rng, WHY if why else WHAT)
    question = form.format(x=name)
    question = question[0].upper() + question[1:]
    answer = fact.why if why else fact.what
    goal = f"why {name} is useful" if why else f"what {name} is"
    return _finish(rng, f"fact {i} {n} {why} {j}", question, answer, f"The user asks {goal}.")


def _howto(rng: random.Random) -> Turn:
    i, item = pick(rng, HOWTO)
    j, ask = pick(rng, item.asks)
    number = rng.choice((rng.randint(1, 99), rng.randint(100, 999), rng.randint(1, 20) * 50))
    k = rng.randint(1, 5) if "0.{k}" not in item.answer else rng.randint(1, 9)
    slots = {
        "d": rng.choice(DIRS), "f": rng.choice(FILES), "u": rng.choice(URLS),
        "n": str(number), "k": str(k), "k1": str(k + 1),
    }  # fmt: skip
    if rng.random() < 0.4:
        parts = [rng.choice(PATH_WORDS) for _ in range(rng.randint(0, 3))]
        parts.append(rng.choice((rng.choice(PATH_WORDS), invented(rng, rng.randint(2, 3)))))
        slots["d"] = rng.choice(("", "/", "./", "~/")) + "/".join(parts)
        slots["f"] = invented(rng, 2) + rng.choice((".txt", ".md", ".json"))
    used = " ".join(slots[s[1]] for s in FIXED_OR_SLOT if s in ask)
    about = "The user wants to know how the program is used."
    if used:
        about = f"The user gives {used}. I put it into the answer."
    return _finish(rng, f"howto {i} {j} {used}", ask.format(**slots), item.answer.format(**slots), about)


def _smalltalk(rng: random.Random) -> Turn:
    i, (asks, answer) = pick(rng, SMALLTALK)
    j, ask = pick(rng, asks)
    return _finish(rng, f"talk {i} {j}", ask, answer, "The user talks to me.")


def _off_topic(rng: random.Random) -> Turn:
    i, (form, slots) = pick(rng, OFF_TOPIC)
    slot, topic = rng.choice(slots), rng.choice(POEM_TOPICS)
    key = f"off {i} {slot} {topic if '{p}' in form else ''}"
    about = "This is not one of my topics."
    return _finish(rng, key, form.format(s=slot, p=topic), HONEST, about)
