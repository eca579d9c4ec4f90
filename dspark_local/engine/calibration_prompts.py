"""What a model is asked when its draft is calibrated and nobody brought prompts: everyday questions, sums, code."""

from __future__ import annotations

CHAT = (
    "What should I look at first when I buy a used bicycle?",
    "Explain to a ten-year-old why the sky turns red in the evening.",
    "My neighbour plays the drums at night. Write a friendly note to put under the door.",
    "Compare rice and potatoes as a side dish for a week of cooking.",
    "Name three ways to keep cut flowers fresh for longer and say why each works.",
    "Summarise how a bill becomes law in a country of your choice, in five sentences.",
    "Give me a packing list for four days of hiking in autumn.",
    "What is the difference between weather and climate?",
)
MATHS = (
    "A train leaves at 9:40 and arrives at 13:05. It stops for 25 minutes on the way. How long does it move?",
    "Solve 3x + 7 = 4x - 12 and check the result.",
    "A shirt costs 48 euros after a discount of 20 percent. What did it cost before?",
    "How many ways are there to seat five people in a row if two of them insist on being neighbours?",
    "The sides of a right triangle next to the right angle are 9 and 12. Find the third side and the area.",
    "Work out 387 * 46 step by step.",
    "Two dice are thrown. How likely is a sum of at least ten?",
    "A tank holds 840 litres. One tap fills it in 6 hours, another in 4. How long do both take together?",
)
CODE = (
    "Write a Python function that returns the second largest number of a list, and say what it does with duplicates.",
    "Write a shell one-liner that counts the lines of all Markdown files under the current folder.",
    "Write a SQL query that lists customers without any order in the last 90 days.",
    "Write a JavaScript function that debounces another function, with a comment on each line.",
    "Find the mistake: `for i in range(len(items)): if items[i] == 0: del items[i]`. Then write it correctly.",
    "Write a Rust function that reverses the words of a sentence.",
    "Write a Python class for a stack with push, pop and peek, and three tests for it.",
    "Write a regular expression for times such as 7:05 or 23:59 and explain its parts.",
)
PROMPTS = tuple(prompt for group in zip(CHAT, MATHS, CODE, strict=True) for prompt in group)
"""The 24 prompts, the kinds in turn."""
