"""What is asked, by domain: the demo's held-out prompts, a user's file, or a few questions for any model."""

from __future__ import annotations

from pathlib import Path

from dspark_local.commands.sources import read_text_file
from dspark_local.errors import UsageError

DOMAINS = ("chat", "math", "code")

USED_ELSEWHERE = 300
"""So many of the demo's held-out prompts fitted its calibration; what comes after them has not been looked at."""

BUILT_IN = {
    "chat": (
        "My tomatoes have yellow leaves at the bottom. What could be wrong?",
        "Suggest a birthday present for a colleague whom I hardly know.",
        "How do noise-cancelling headphones work?",
        "Write a short thank-you message to a teacher at the end of the school year.",
        "What should I ask before I rent a flat?",
        "Tell me how bread rises, in three sentences.",
    ),
    "math": (
        "What is 15 percent of 260, and how do you get there?",
        "A car uses 6.4 litres for 100 km. How far does it get with 48 litres?",
        "Solve x squared minus 5x plus 6 equals 0.",
        "The mean of four numbers is 9. Three of them are 4, 11 and 13. What is the fourth?",
        "How many seconds are there in a leap year? Show every step.",
        "A bag holds 3 red and 5 blue balls. Two are drawn. How likely are two blue ones?",
    ),
    "code": (
        "Write a Python function that tells whether a string is a palindrome.",
        "Write a Python function that merges two sorted lists into one.",
        "Write a C function that counts the set bits of an unsigned integer.",
        "Write a JavaScript function that groups an array of objects by a key.",
        "Write a Bash script that renames every .jpeg file in a folder to .jpg.",
        "Write a Python generator that yields the Fibonacci numbers below a limit.",
    ),
}


def prompts_of(count: int, *, is_demo: bool, file: Path | None) -> dict[str, list[str]]:
    """At most `count` prompts a domain. UsageError when the file cannot be read or holds none."""
    if file is not None:
        lines = [line.strip() for line in read_text_file(file).splitlines() if line.strip()]
        if not lines:
            raise UsageError(f"{file} holds no prompt.", hint="Give one prompt a line.")
        return {file.stem or "prompts": lines[:count]}
    if is_demo:
        from dspark_local.demo.heldout import held_out_turns

        turns = {domain: held_out_turns(domain, USED_ELSEWHERE + count)[USED_ELSEWHERE:] for domain in DOMAINS}
        return {domain: [turn.question for turn in of_domain] for domain, of_domain in turns.items()}
    return {domain: list(BUILT_IN[domain][:count]) for domain in DOMAINS}
