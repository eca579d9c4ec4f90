"""What a caller asks of an engine: sampling, speculation, messages. Plain data, standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dspark_local.errors import UsageError

Role = Literal["system", "developer", "user", "assistant", "tool", "latest_reminder"]
ThinkingMode = Literal["chat", "thinking"]
SpeculationMode = Literal["off", "static", "threshold", "auto", "ahead"]

MOST_TOP_LOGPROBS = 20
MOST_LOGIT_BIAS = 100.0


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How one token is chosen from the target's logits.

    temperature 0 is greedy. top_k 0, top_p 1, min_p 0 and the neutral penalties switch a step off. seed None draws
    one. stop strings are cut from the output. logit_bias adds to the logits of token ids, from -100 to 100: at the ends
    it bans a token or makes it the only one.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        checks = (
            ("temperature", self.temperature, 0.0, 100.0),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
        )
        for name, value, low, high in checks:
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}, it must be from {low:g} to {high:g}.")
        if self.top_p == 0.0:
            raise UsageError("top_p is 0, which leaves no token.", hint="For greedy decoding use temperature 0.")
        if self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}, it must be 0 (off) or more.")
        if not 0.0 < self.repetition_penalty <= 10.0:
            raise UsageError(f"repetition_penalty is {self.repetition_penalty}, it must be above 0, at most 10.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max_tokens is {self.max_tokens}, it must be 1 or more.")
        if any(not text for text in self.stop):
            raise UsageError("A stop string is empty.", hint="Leave it out.")
        for token, bias in self.logit_bias.items():
            if token < 0:
                raise UsageError(f"logit_bias names token {token}; ids begin at 0.")
            if not -MOST_LOGIT_BIAS <= bias <= MOST_LOGIT_BIAS:
                raise UsageError(f"logit_bias of token {token} is {bias}, it must be from -100 to 100.")

    @property
    def is_greedy(self) -> bool:
        """True when every token is the argmax."""
        return self.temperature == 0.0


_BARE_MODES: tuple[SpeculationMode, ...] = ("off", "auto", "ahead")


@dataclass(frozen=True, slots=True)
class SpeculationSettings:
    """How many drafted tokens are verified in a round.

    off: none. static: always `draft_tokens` (at most the draft's block). threshold: the prefix before the first
    confidence under `threshold`. auto: what pays by measured cost. ahead: auto with the number fixed two rounds before,
    so that a pass need not wait for the confidences of its own block.
    """

    mode: SpeculationMode = "auto"
    draft_tokens: int = 0
    threshold: float = 0.0

    @classmethod
    def parse(cls, text: str) -> SpeculationSettings:
        """`off`, `auto`, `ahead`, `static:K` (K from 0) or `threshold:P` (P from 0 to 1); UsageError otherwise."""
        mode, _, value = text.strip().partition(":")
        try:
            bare = next((name for name in _BARE_MODES if name == text.strip()), None)
            if bare is not None:
                return cls(mode=bare)
            if mode == "static" and int(value) >= 0:
                return cls(mode="static", draft_tokens=int(value))
            if mode == "threshold" and 0.0 <= float(value) <= 1.0:
                return cls(mode="threshold", threshold=float(value))
        except ValueError:
            pass
        raise UsageError(
            f"Speculation {text!r} is not known.",
            hint="Use off, auto, ahead, static:K (K drafted tokens a round) or threshold:P (P from 0 to 1).",
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model made. `arguments` is a JSON string, as in the OpenAI API."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. `tools` (OpenAI tool objects) may stand on a system or developer message.

    prefix marks the last message, an assistant's, as the beginning of the answer that is asked for: what is answered
    goes on from its content, its reasoning being over. In thinking mode and without content, the reasoning itself goes
    on. Greedy and without penalties, it goes on as the whole answer would have, token for token, wherever the model's
    tokenizer makes of the cut text the tokens that it was made of; of a text that ends in blanks it often does not.
    """

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Mapping[str, Any] | None = None
    prefix: bool = False

    def __post_init__(self) -> None:
        if self.prefix and self.role != "assistant":
            raise UsageError(
                f"A message of role {self.role} is marked as a prefix.", hint="Only an assistant message can go on."
            )
        if self.prefix and self.tool_calls:
            raise UsageError(
                "An answer that has called a tool cannot go on.", hint="Send the results of its calls instead."
            )


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What the answer must parse as. json_object: any JSON object. json_schema: JSON that `schema` accepts."""

    kind: Literal["json_object", "json_schema"]
    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if (self.schema is None) != (self.kind == "json_object"):
            raise UsageError(
                f"An output format of kind {self.kind} {'lacks its' if self.schema is None else 'has a'} schema.",
                hint="Give a schema with json_schema, and none with json_object.",
            )


@dataclass(frozen=True, slots=True)
class NamedTool:
    """The one tool that the answer must call."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A conversation to be continued by one assistant message, or by the rest of one (see ChatMessage.prefix).

    conversation_id names the cached prefix that may be reused; it never changes the output. top_logprobs asks for the
    log-probability of every token of the answer and of as many most likely ones, 0 to 20; None asks for none.
    output_format holds for the answer, not for the reasoning before it; an answer that calls a tool is free of it.
    tool_choice: none forbids calls, required forces one or more, a NamedTool exactly one of it. Without
    parallel_tool_calls a forced answer makes one call; one that is free to call is not held to it.
    """

    messages: tuple[ChatMessage, ...]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    speculation: SpeculationSettings = field(default_factory=SpeculationSettings)
    thinking: ThinkingMode = "chat"
    reasoning_effort: Literal["high", "max"] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    conversation_id: str | None = None
    top_logprobs: int | None = None
    output_format: OutputFormat | None = None
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True

    @property
    def continued(self) -> ChatMessage | None:
        """The beginning of the answer, where the request holds one."""
        return self.messages[-1] if self.messages and self.messages[-1].prefix else None

    def __post_init__(self) -> None:
        _check_top_logprobs(self.top_logprobs)
        if any(message.prefix for message in self.messages[:-1]):
            raise UsageError("A message marked as a prefix is not the last one.", hint="Mark the last one, or none.")
        names = [tool.get("function", {}).get("name") for tool in self.tools]
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.name not in names:
            raise UsageError(
                f"tool_choice names the tool {self.tool_choice.name!r}, which is not among the {len(names)} given.",
                hint="Name one of `tools`.",
            )
        if self.tool_choice == "required" and not names:
            raise UsageError("tool_choice is required, but no tools are given.", hint="Give `tools`.")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Token ids to be continued as they are, without any chat encoding.

    top_logprobs and output_format as in ChatRequest.
    """

    prompt_ids: tuple[int, ...]
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    speculation: SpeculationSettings = field(default_factory=SpeculationSettings)
    conversation_id: str | None = None
    top_logprobs: int | None = None
    output_format: OutputFormat | None = None

    def __post_init__(self) -> None:
        _check_top_logprobs(self.top_logprobs)


def _check_top_logprobs(count: int | None) -> None:
    if count is not None and not 0 <= count <= MOST_TOP_LOGPROBS:
        raise UsageError(f"top_logprobs is {count}, it must be from 0 to {MOST_TOP_LOGPROBS}.")
