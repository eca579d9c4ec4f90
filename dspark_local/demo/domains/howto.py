"""Commands, options and keys: answers that copy a name or a number from the question."""

from __future__ import annotations

from typing import NamedTuple

DIRS = (
    "models/flash|models/demo|my-model|./weights|/data/v4|~/models/v4|checkpoints/pro|demo-pair|/mnt/nvme/flash|v4-small|"
    "downloads/model|old/model|test-model|big-disk/v4|~/v4"
).split("|")
FILES = (
    "notes.txt|essay.txt|data.txt|story.txt|report.md|input.txt|sample.txt|book.txt|readme.md|log.txt|letter.txt|todo.md"
).split("|")
PATH_WORDS = (
    "home me user data models deepseek flash pro v4 demo weights big disk nvme ssd llm ai work local share opt main new"
).split()
URLS = "http://localhost:8000|http://127.0.0.1:9000|http://server:8080|http://box:5000".split("|")


class Howto(NamedTuple):
    """Ways to ask and the answer. Slots: {d} directory, {f} file, {u} URL, {n} number, {k} 1-5."""

    asks: tuple[str, ...]
    answer: str


HOWTO: tuple[Howto, ...] = (
    Howto(("How do I run the model in {d}?", "How can I use the model in {d}?", "Run the model in {d}.",
           "How do I load {d}?", "I have a model in {d}. How do I run it?", "Which command runs {d}?",
           "How do I start with the checkpoint {d}?"),
          "Use `dspark-local run --model {d}`."),
    Howto(("How do I serve the model in {d}?", "Start a server with {d}.", "How can I start a server for {d}?",
           "Which command serves {d}?", "I want to serve {d} to my editor.", "How do I serve {d}?"),
          "Use `dspark-local serve --model {d}`."),
    Howto(("How do I score {f}?", "How do I get the perplexity of {f}?", "Score the file {f}.",
           "Which command scores {f}?", "How can I measure the perplexity of {f}?", "I want to score {f}."),
          "Use `dspark-local score {f}`. It prints the log probabilities and the perplexity."),
    Howto(("How do I connect to {u}?", "Connect the chat to {u}.", "Can the chat use the server at {u}?",
           "How can dspark-chat connect to {u}?", "My server runs at {u}. How do I use it?"),
          "Use `dspark-chat --connect {u}`."),
    Howto(("How do I get at most {n} tokens?", "How do I limit the answer to {n} tokens?",
           "Limit the output to {n} tokens.", "How can I stop after {n} tokens?",
           "I want no more than {n} tokens."),
          "Add `--max-tokens {n}` to `dspark-local run`."),
    Howto(("How do I use {k} drafts?", "How do I always verify {k} drafts?", "Set the number of drafts to {k}.",
           "How can I draft {k} tokens per pass?", "I want exactly {k} drafts.", "Use {k} draft tokens."),
          "Add `--spec static:{k}`. Then up to {k} drafts are verified in each pass."),
    Howto(("How do I set the seed to {n}?", "Use the seed {n}.", "How can I use seed {n}?",
           "I want the seed {n}.", "How do I get the same sample with seed {n}?"),
          "Add `--seed {n}` to `dspark-local run`."),
    Howto(("How do I set the temperature to 0.{k}?", "Use temperature 0.{k}.", "Set the temperature to 0.{k}.",
           "How can I sample with temperature 0.{k}?", "I want a temperature of 0.{k}."),
          "Add `--temperature 0.{k}` to `dspark-local run`."),
    Howto(("How do I cut drafts below 0.{k} confidence?", "How do I set the confidence threshold to 0.{k}?",
           "Use a threshold of 0.{k}.", "Stop drafting below a confidence of 0.{k}.",
           "How can I use a confidence threshold of 0.{k}?"),
          "Add `--spec threshold:0.{k}`. Drafts with less confidence are not verified."),
    Howto(("How do I write a trace to {f}?", "Save the trace in {f}.", "How can I trace the rounds into {f}?",
           "I want a trace file called {f}."),
          "Add `--trace {f}`. It gets one JSON line for each round."),
    Howto(("How do I read the prompt from {f}?", "How do I pipe {f} into the model?",
           "Can I use {f} as the prompt?", "How can I send {f} to the model?"),
          "Use a pipe: `cat {f} | dspark-local run`."),
    Howto(("How many positions are verified for {k} drafts?", "How many tokens does a pass with {k} drafts check?",
           "With {k} drafts, how many positions does the target read?"),
          "{k} drafts plus the anchor: the target reads {k1} positions in one pass."),
    Howto(("If {k} drafts are accepted, how many tokens do I get?", "{k} drafts were accepted. How many new tokens is that?",
           "How many tokens come from {k} accepted drafts?"),
          "{k} accepted drafts plus one token of the target give {k1} new tokens."),
    Howto(("How do I turn off speculation?", "How do I disable the draft?", "Switch speculation off.",
           "Can I run without the draft?", "How can I decode without drafts?", "Turn off drafting."),
          "Add `--spec off`. The output stays the same, it is only slower."),
    Howto(("How do I see statistics?", "How do I see the speed?", "Show me the accepted length.",
           "How can I see the tokens per second?", "Where do I see how well the draft works?",
           "How do I measure the accepted length?"),
          "Add `--stats` to `dspark-local run`. The chat shows the speed and the accepted length below the answer."),
    Howto(("How do I get JSON output?", "Can I get the output as JSON?", "Print the result as JSON.",
           "How can a script read the result?", "Is there a JSON output?"),
          "Add `--json` to `dspark-local run`. It prints one object with the text, the token ids and the statistics."),
    Howto(("How do I run in float32?", "How do I choose the dtype?", "Can I use full precision?",
           "How do I change the precision?", "Which dtypes can I use?"),
          "Add `--dtype float32`. The other choices are bfloat16, float16 and auto."),
    Howto(("How do I stop an answer?", "How can I stop you?", "What does Esc do?", "Which key stops the answer?",
           "How do I interrupt the model?", "How do I cancel?", "What is the Esc key for?"),
          "Press **Esc**. The answer stops within one step, and what was written stays."),
    Howto(("How do I quit?", "How do I leave the chat?", "What does Ctrl-C do?", "How do I exit?",
           "How can I close the program?", "Which key quits?", "How do I get out of here?"),
          "Press **Ctrl-C**. Your conversation is already saved, so nothing is lost."),
    Howto(("How do I get help?", "What does F1 do?", "Where is the help?", "Which key shows the help?",
           "Is there a help page?", "What keys are there?", "Which keys can I use?", "Show me the keys."),
          "Press **F1** for help. **Esc** stops an answer and **Ctrl-C** leaves the chat."),
    Howto(("How do I start?", "How do I begin?", "How do I start a chat?", "How do I install this?", "Where do I start?",
           "How do I install dspark-local?", "How can I try it?", "How do I use this program?"),
          "Install it with `pip install .` and start `dspark-chat`. This small demo model is included."),
    Howto(("How do I download a model?", "Where do I get a larger model?", "How do I get the real model?",
           "How do I get DeepSeek-V4?", "Can I use a bigger model?", "How can I download DeepSeek-V4?"),
          "Use `dspark-local pull` to download a model. Then pass its directory with `--model`."),
    Howto(("How much memory do I need?", "What hardware do I need?", "Do I need a GPU?", "Does it run without a GPU?",
           "Which graphics card do I need?", "How much RAM do I need?", "What machine do I need?"),
          "The demo runs on any CPU. For DeepSeek-V4 plan a card with 8 to 32 GB, 32 to 256 GB of RAM and a fast NVMe disk."),
    Howto(("Does speculation change the output?", "Does drafting change the text?", "Does the draft change the answer?",
           "Can speculation change a token?", "Does DSpark change the output?", "Can the draft make the answer worse?",
           "Do I lose quality with speculation?"),
          "No. Speculation is lossless: the target checks every token, and the output is the model's own."),
    Howto(("Is my data safe?", "Is this private?", "Do you send data to the internet?", "Does it work offline?",
           "Do I need the internet?", "Does my text leave my machine?", "Can I use it offline?"),
          "Everything runs on your machine. The server listens on loopback only, unless you tell it otherwise."),
    Howto(("How fast is it?", "How fast are you?", "How much faster is it with the draft?", "What speedup do I get?",
           "Is it faster with DSpark?"),
          "That depends on your machine. Look at the tokens per second and the accepted length below the answer."),
    Howto(("How many drafts are there?", "How many tokens does the draft propose?", "How long is a draft block?",
           "How many drafts per pass?", "How many tokens are drafted at once?"),
          "The draft proposes **five** tokens per pass, so a pass gives at most six tokens."),
    Howto(("What commands are there?", "Which commands can I use?", "List the commands.", "Show me the commands.",
           "What commands do you have?"),
          "- `dspark-chat`: chat in the terminal\n- `dspark-local run`: answer one prompt\n- `dspark-local serve`: start the server\n- `dspark-local pull`: download a model\n- `dspark-local score`: score a text"),
    Howto(("Which layers does the model have?", "What kinds of layers are there?", "What layer kinds are there?",
           "Which attention layers are there?", "What kinds of attention are there?"),
          "- **sliding window**: the last 128 positions\n- **CSA**: rows of 4 tokens, picked by the indexer\n- **HCA**: rows of 128 tokens, all of them"),
    Howto(("What is the difference between CSA and HCA?", "Compare CSA and HCA.", "CSA or HCA?",
           "How do CSA and HCA differ?"),
          "CSA packs 4 tokens into a row and reads the best rows. HCA packs 128 tokens into a row and reads all of them."),
    Howto(("What is the difference between FP4 and FP8?", "Compare FP4 and FP8.", "FP4 or FP8?",
           "How do FP4 and FP8 differ?"),
          "FP4 has 4 bits and stores the experts. FP8 has 8 bits and stores the dense weights."),
    Howto(("What is the difference between draft and target?", "Compare the draft and the target.",
           "Draft or target, which one decides?", "Who decides the token, draft or target?"),
          "The draft guesses, the target decides. Only tokens that the target agrees with are kept."),
    Howto(("What happens if a draft is wrong?", "What happens when a draft is rejected?", "What if the draft is wrong?",
           "What happens with rejected drafts?", "What if all drafts are rejected?"),
          "Then the target's own token is used, the cache is rewound and the next block starts there."),
    Howto(("How does a round work?", "What happens in one round?", "What are the steps of a round?",
           "How does drafting work step by step?", "Explain the loop."),
          "1. The draft proposes five tokens.\n2. The target verifies them in one pass.\n3. The accepted tokens and one more are kept.\n4. The cache is rewound and the next round starts."),
    Howto(("Is it lossless?", "Is this lossless?", "Is speculative decoding lossless?", "Is DSpark lossless?",
           "Is speculation lossless?", "Is the output still the same?", "Is the output the model's own?",
           "Are you lossless?", "Is the output the same with and without the draft?", "Is drafting lossless?"),
          "Yes. Speculation is lossless: the target checks every token, and the output is the model's own."),
)  # fmt: skip

FIXED_OR_SLOT = ("{d}", "{f}", "{u}", "{n}", "{k}")
