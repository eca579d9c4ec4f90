"""From a request to its task: what is continued, in which form, and how the answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dspark_local.engine.answer_text import AnswerText
from dspark_local.engine.constraint_grammar import grammar, json_rule, tools_rule
from dspark_local.engine.constraint_vocabulary import GrammarVocabulary
from dspark_local.engine.constraints import Constraint
from dspark_local.engine.task import Task, check_bias, check_prompt
from dspark_local.errors import DsparkError, UsageError
from dspark_local.protocols.detokenize import IncrementalDetokenizer
from dspark_local.protocols.output_parser import OutputParser
from dspark_local.protocols.special_tokens import DSML, THINK_CLOSE
from dspark_local.protocols.stop_strings import StopStrings
from dspark_local.protocols.tokenizer import ChatTokenizer
from dspark_local.request import ChatRequest, NamedTool, TokenRequest


class Prepared(NamedTuple):
    """A task without its scheduler, and the reader of its answer."""

    task: Task
    answer: AnswerText


class Answering:
    """Prepares the requests of one model. Its tokenizer's bytes are indexed when the first grammar is asked for."""

    def __init__(self, tokenizer: ChatTokenizer, vocab_size: int, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._context_length = context_length
        self._end_ids = frozenset(tokenizer.eos_ids)
        self._vocabulary: GrammarVocabulary | None = None

    def chat(self, request: ChatRequest, prompt: Sequence[int]) -> Prepared:
        """A conversation, encoded as prompt.

        UsageError or ContextLengthError for what cannot be answered, a schema that cannot be enforced among it;
        MissingDependencyError where a form is asked for and the grammar library is absent.
        """
        begun = request.continued.content if request.continued is not None else ""
        thinks = request.thinking == "thinking" and not begun
        spellings = self._tokenizer.markup_spellings
        parser = OutputParser("thinking" if thinks else "chat", tools=request.tools, extra_tokens=spellings)
        begins_after = self._tokenizer.token_id(THINK_CLOSE) if thinks else None
        prepared = self._prepare(request, prompt, parser, self._rules(request), begins_after)
        if begun and request.output_format is not None and not _is_forced(request):
            self._advance(prepared.task.constraint, begun)
        return prepared

    def complete(self, request: TokenRequest) -> Prepared:
        """Token ids to be continued; errors as in chat."""
        rules = [json_rule(request.output_format)] if request.output_format is not None else []
        return self._prepare(request, request.prompt_ids, None, rules, None)

    def _prepare(
        self,
        request: ChatRequest | TokenRequest,
        prompt: Sequence[int],
        parser: OutputParser | None,
        rules: Sequence[str],
        begins_after: int | None,
    ) -> Prepared:
        sampling = request.sampling
        check_prompt(prompt, self._vocab_size, self._context_length)
        check_bias(sampling, self._vocab_size)
        tokenizer = self._tokenizer
        stops = StopStrings(sampling.stop)
        answer = AnswerText(
            IncrementalDetokenizer(tokenizer), stops, parser, self._end_ids, token_bytes=tokenizer.token_bytes
        )
        task = Task(
            prompt,
            sampling,
            end_ids=self._end_ids,
            watch=answer.watch,
            repeatable=True,
            constraint=self._constraint(request, rules, begins_after),
            top_logprobs=request.top_logprobs,
            scored=answer.score,
        )
        return Prepared(task, answer)

    def _advance(self, constraint: Constraint | None, begun: str) -> None:
        """Lead the form over what the answer already says. UsageError where that is no beginning of the form."""
        try:
            if constraint is not None:
                constraint.append(self._tokenizer.encode_text(begun))
        except DsparkError as error:
            raise UsageError(
                "The answer that is to go on does not begin in the form that is asked for.",
                hint="Leave out the form, or the beginning of the answer.",
            ) from error

    def _rules(self, request: ChatRequest) -> list[str]:
        """The forms that the answer may take; none when it is free."""
        forced = _is_forced(request)
        rules = []
        if request.output_format is not None and not forced:
            rules.append(json_rule(request.output_format))
        if forced or (rules and request.tools and request.tool_choice == "auto"):
            tools = request.tools
            if isinstance(request.tool_choice, NamedTool):
                name = request.tool_choice.name
                tools = tuple(tool for tool in tools if tool.get("function", {}).get("name") == name)
            single = isinstance(request.tool_choice, NamedTool) or not request.parallel_tool_calls
            rules.append(tools_rule(tools, self._tokenizer.token_id(DSML), single=single))
        return rules

    def _constraint(
        self, request: ChatRequest | TokenRequest, rules: Sequence[str], begins_after: int | None
    ) -> Constraint | None:
        if not rules:
            calls_nothing = isinstance(request, ChatRequest) and request.tool_choice == "none" and request.tools
            return Constraint(banned_ids=[self._tokenizer.token_id(DSML)]) if calls_nothing else None
        if request.sampling.ignore_eos:
            raise UsageError(
                "ignore_eos asks for more text after an answer whose form is complete.",
                hint="Leave out ignore_eos, or the form.",
            )
        if self._vocabulary is None:
            self._vocabulary = GrammarVocabulary.of(self._tokenizer)
        matcher = self._vocabulary.compile(grammar(rules))
        # Neither an end nor a tool call inside the reasoning: both would be an answer without the form.
        dsml = [self._tokenizer.token_id(DSML)] if DSML in self._tokenizer.markup_spellings else []
        return Constraint(
            banned_ids=[*self._end_ids, *dsml], matcher=matcher, begins_after=begins_after, end_ids=self._end_ids
        )


def _is_forced(request: ChatRequest) -> bool:
    """True when the answer has to call a tool."""
    return request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
