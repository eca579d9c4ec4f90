"""litellm does what a program would do with it, and prints what came of it as JSON. In its own environment."""

from __future__ import annotations

import json
import sys
from typing import Any

import litellm
from pydantic import BaseModel, Field

_, DEMO, SCRIPT, KEY = sys.argv
litellm.suppress_debug_info = True


class Thing(BaseModel):
    name: str = Field(max_length=8)
    count: int


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(content: str | list[dict[str, Any]], url: str = DEMO, **more: Any) -> Any:
    messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
    asked = {"model": "openai/dspark-demo", "api_base": f"{url}/v1", "api_key": KEY, "temperature": 0, **more}
    return litellm.completion(messages=messages, num_retries=0, **asked)


def failure(*asked: Any, **more: Any) -> dict[str, Any]:
    try:
        ask(*asked, **more)
    except Exception as error:  # noqa: BLE001  # which one it is, is what is asked
        return {"kind": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}
    return {"kind": "none"}


def call_tools(streamed: bool) -> str:
    history: list[dict[str, Any]] = [{"role": "user", "content": "How is the weather?"}]
    for _ in range(3):
        answer = ask(history, SCRIPT, tools=[TOOL], stream=streamed)
        message = (litellm.stream_chunk_builder(list(answer)) if streamed else answer).choices[0].message
        if not message.tool_calls:
            return str(message.content)
        history.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            history.append({"role": "tool", "tool_call_id": call.id, "content": f"{city} is sunny"})
    raise AssertionError("the loop does not end")


told: dict[str, Any] = {}
whole = ask("What is 2 + 2?", max_tokens=24)
told["whole"] = {
    "text": whole.choices[0].message.content,
    "reason": whole.choices[0].finish_reason,
    "usage": {name: whole.usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
}
chunks = list(ask("What is 2 + 2?", max_tokens=24, stream=True, stream_options={"include_usage": True}))
built = litellm.stream_chunk_builder(chunks)
told["stream"] = {"text": built.choices[0].message.content, "prompt_tokens": built.usage.prompt_tokens}
told["tools"], told["tools_streamed"] = call_tools(False), call_tools(True)
told["schema"] = json.loads(ask("Name something.", response_format=Thing).choices[0].message.content)
thought = ask("What is 2 + 2?", reasoning_effort="high", allowed_openai_params=["reasoning_effort"])
told["reasoning"] = {
    "thought": thought.choices[0].message.reasoning_content,
    "text": thought.choices[0].message.content,
}
chunks = list(ask("What is 2 + 2?", reasoning_effort="high", allowed_openai_params=["reasoning_effort"], stream=True))
told["reasoning"]["streamed"] = "".join(
    getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks
)
messages: Any = ask("What is 2 + 2?", model="anthropic/claude-x", api_base=DEMO, max_tokens=24)
told["anthropic"] = messages.choices[0].message.content
told["errors"] = {
    "context": failure("word " * 4000),
    "model": failure("Hi", model="openai/gpt-9"),
    "key": failure("Hi", api_key="wrong"),
    "value": failure("Hi", temperature=-1),
}
seen = 0
endless = ask("endless", SCRIPT, stream=True)
for chunk in endless:
    seen += bool(chunk.choices[0].delta.content)
    if seen == 5:
        break
endless.completion_stream.response.close()
told["cancelled_after"] = seen
print(json.dumps(told))
