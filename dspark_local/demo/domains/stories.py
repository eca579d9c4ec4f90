"""Small stories from a grammar whose choices are equally likely."""

from __future__ import annotations

import random

from dspark_local.demo.domains.turn import Turn, casual, invented, pick

ANIMALS = "fox owl bear cat dog frog hare mouse wolf duck goat horse crow seal snail otter dragon lion tiger cow pig sheep hen mole robot bird fish".split()
NAMES = ("Ada Bo Cleo Dot Eli Fay Gil Ida Jon Kai Lou Max Nell Oona Pip Quinn Ravi Suki Tess Uli Vic Wren").split()
TRAITS = "brave shy clever lazy happy quiet curious hungry".split()
PLACES = ("in a dark forest|by the river|on a green hill|near the sea|in an old barn|under a big tree").split("|")
FINDS = "a red kite|a lost key|a small lamp|a broken boat|an old map|a golden leaf".split("|")
HELPERS = "a wise turtle|an old crow|a young deer|a friendly bee".split("|")
ENDINGS = (
    "They shared some bread and watched the stars.|They laughed and walked home together.|"
    "From that day on they were best friends.|They fell asleep in the warm grass."
).split("|")
LESSONS = ("Kind words open many doors.|Small steps lead far.|A friend makes every road short.").split("|")

_ASK = (
    "Tell me a story about a {a} named {n}.", "Write a short story about a {t} {a} called {n}.",
    "Tell me a story about {n} the {a}.", "I want a story about a {t} {a} named {n}.",
    "Please tell a small story about a {a} called {n}.",
    "Can you tell me a story about {n}, a {t} {a}?", "Make up a story about a {a} named {n}.",
    "Write a story about {n} the {t} {a}.", "A story about a {t} {a} named {n}, please.",
)  # fmt: skip
_OPEN = (
    "Once upon a time there was a {t} {a} named {n}. {n} lived {p}.",
    "A {t} {a} named {n} lived {p}.",
)
_FIND = (
    "One morning {n} found {f}.", "One day, after the rain, {n} saw {f}.",
    "On a cold evening {n} tripped over {f}.",
)  # fmt: skip
_MEET = (
    'Then {h} came along and said: "That is mine, {n}."',
    "{n} did not know what to do, so the {a} asked {h}.",
)
_ACT = (
    "{n} gave it back with a smile.", "Together they looked for the owner until night.",
    "The {a} was afraid at first, but {n} was {t} and kept going.",
)  # fmt: skip


def _article(phrase: str) -> str:
    """Turn "a owl" into "an owl"."""
    words = phrase.split(" ")
    for i in range(len(words) - 1):
        if words[i] in ("a", "A") and words[i + 1][0] in "aeiou":
            words[i] += "n"
    return " ".join(words)


def sample(rng: random.Random) -> Turn:
    """One story request; name, animal and trait come from the request."""
    _ask_id, ask = pick(rng, _ASK)
    slots = {
        "a": rng.choice(ANIMALS), "n": rng.choice(NAMES), "t": rng.choice(TRAITS),
        "p": rng.choice(PLACES), "f": rng.choice(FINDS), "h": rng.choice(HELPERS),
    }  # fmt: skip
    if rng.random() < 0.3:
        slots["n"] = invented(rng, 2).capitalize()
    _, question = casual(rng, ask.format(**slots))
    parts = [rng.choice(options).format(**slots) for options in (_OPEN, _FIND, _MEET, _ACT)]
    story = " ".join([*parts, rng.choice(ENDINGS)])
    if rng.random() < 0.3:
        story += "\n\n**" + rng.choice(LESSONS) + "**"
    reasoning = f"The user wants a story about {slots['n']}, a {slots['a']}."
    key = f"{slots['n']} {slots['a']} {slots['t'] if '{t}' in ask else ''}"
    return Turn("story", key, _article(question), _article(story), _article(reasoning))
