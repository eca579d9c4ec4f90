import random

import pytest
import torch

from dspark_local.demo import weights_path
from dspark_local.demo.batches import Stream
from dspark_local.demo.corpus import DOMAINS, conversation, documents, is_held_out, training_turn
from dspark_local.demo.domains.turn import Turn
from dspark_local.demo.heldout import held_out_turns
from dspark_local.demo.layout import BOS, EOS, SPECIAL, Conversation, answer_of, prompt_of, segments
from dspark_local.demo.tokens import encode, plain_text, train_tokenizer


def test_weights_path_is_inside_the_package() -> None:
    assert weights_path().name == "weights"
    assert weights_path().parent.name == "demo"


def test_same_seed_same_text() -> None:
    assert documents(1, 5, 40) == documents(1, 5, 40)
    assert documents(1, 5, 40) != documents(1, 6, 40)
    assert documents(1, 5, 40) != documents(2, 5, 40)


@pytest.mark.parametrize("domain", DOMAINS)
def test_held_out_prompts_never_occur_in_training(domain: str) -> None:
    held = held_out_turns(domain, 60)
    assert held == held_out_turns(domain, 60)
    assert all(is_held_out(t) for t in held)
    keys = {t.key for t in held}
    rng = random.Random(0)
    seen = {training_turn(rng, domain).key for _ in range(4000)}
    assert not keys & seen


def test_arithmetic_is_right() -> None:
    rng = random.Random(1)
    for _ in range(300):
        turn = DOMAINS["math"](rng)
        op, a, b = turn.key.split()
        value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[op]
        assert f"= **{value}**" in turn.answer or f"The answer is **{value} " in turn.answer
        for line in turn.reasoning.split("\n"):
            for part in line.split(", ")[0].rstrip(".").split(": ")[-1:]:
                if " = " in part:
                    left, right = part.split(" = ")
                    assert eval(left) == int(right)


def test_generated_functions_are_python() -> None:
    rng = random.Random(2)
    for _ in range(200):
        turn = DOMAINS["code"](rng)
        source = turn.answer.removeprefix("```python\n").removesuffix("\n```")
        compile(source, "answer", "exec")


def test_layout_is_the_official_one() -> None:
    first = Turn("chat", "a", "2+2?", "4", "Easy.")
    last = Turn("chat", "b", "times 3?", "12", "Hm.")
    chat = Conversation("You are terse.", (first,), thinking=False)
    assert prompt_of(chat) == f"{BOS}You are terse.<｜User｜>2+2?<｜Assistant｜></think>"
    assert answer_of(chat) == "4" + EOS
    thinking = Conversation("You are terse.", (first, last), thinking=True)
    assert prompt_of(thinking) == (
        f"{BOS}You are terse.<｜User｜>2+2?<｜Assistant｜></think>4{EOS}<｜User｜>times 3?<｜Assistant｜><think>"
    )
    assert answer_of(thinking) == f"Hm.</think>12{EOS}"
    for item in (chat, thinking):
        assert "".join(t for t, _ in segments(item)) == prompt_of(item) + answer_of(item)


def test_tokenizer_splits_digits_and_covers_every_byte() -> None:
    texts = [t for d in documents(1, 0, 200) for t in plain_text(d)]
    tokenizer = train_tokenizer(texts, 600)
    assert [tokenizer.token_to_id(t) for t in SPECIAL] == list(range(len(SPECIAL)))
    for text in ("12345", "你好 🎉 naïve\t\x00", *texts[:20]):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert len(tokenizer.encode("12345", add_special_tokens=False).ids) == 5
    item = conversation(random.Random(3), 2)
    ids, answer = encode(tokenizer, item)
    whole = tokenizer.encode(prompt_of(item) + answer_of(item), add_special_tokens=False).ids
    assert ids == whole
    assert answer[-1]
    assert not answer[0]


def test_stream_continues_where_it_stopped() -> None:
    texts = [t for d in documents(1, 0, 200) for t in plain_text(d)]
    tokenizer = train_tokenizer(texts, 600)
    one = Stream(tokenizer, 1, 2048, 512)
    for _ in range(5):
        one.next()
    two = Stream(tokenizer, 1, 2048, 512)
    two.restore(one.position())
    for _ in range(3):
        assert torch.equal(one.next().ids, two.next().ids)
