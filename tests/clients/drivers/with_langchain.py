"""langchain-openai does what a program would do with it, and prints what came of it as JSON. In its own environment."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

_, DEMO, SCRIPT, KEY = sys.argv
QUESTION = "What is 2 + 2?"


class Thing(BaseModel):
    """Something that can be counted."""

    name: str = Field(max_length=8)
    count: int


@tool
def get_weather(city: str) -> str:
    """How the weather is in a city."""
    return f"{city} is sunny"


def model(url: str = DEMO, **more: Any) -> Any:
    settings = {"model": "dspark-demo", "api_key": KEY, "temperature": 0, "max_retries": 0, **more}
    return ChatOpenAI(base_url=f"{url}/v1", **settings)


def failure(prompt: str = "Hi", **more: Any) -> dict[str, Any]:
    try:
        model(**more).invoke(prompt)
    except Exception as error:  # noqa: BLE001  # which one it is, is what is asked
        return {"kind": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}
    return {"kind": "none"}


def call_tools(streamed: bool) -> str:
    armed = model(SCRIPT).bind_tools([get_weather])
    history: list[Any] = [HumanMessage("How is the weather?")]
    for _ in range(3):
        if streamed:
            answer = None
            for chunk in armed.stream(history):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = armed.invoke(history)
        if not answer.tool_calls:
            return str(answer.content)
        history += [answer, *(get_weather.invoke(call) for call in answer.tool_calls)]
    raise AssertionError("the loop does not end")


told: dict[str, Any] = {}
whole = model(max_tokens=24).invoke(QUESTION)
told["whole"] = {
    "text": whole.content,
    "reason": whole.response_metadata["finish_reason"],
    "tokens": whole.usage_metadata["total_tokens"],
}
pieces = list(model(max_tokens=24, stream_usage=True).stream(QUESTION))
told["stream"] = {
    "text": "".join(piece.content for piece in pieces),
    "tokens": next(piece.usage_metadata["total_tokens"] for piece in pieces if piece.usage_metadata),
}
told["tools"], told["tools_streamed"] = call_tools(False), call_tools(True)
told["schema"] = model().with_structured_output(Thing, method="json_schema").invoke("Name something.").model_dump()
thought = model(use_responses_api=True, reasoning={"effort": "high"}).invoke(QUESTION)
told["reasoning"] = {
    "text": thought.text if isinstance(thought.text, str) else thought.text(),
    "tokens": thought.usage_metadata["output_token_details"]["reasoning"],
    "blocks": [block["type"] for block in thought.content],
}
told["errors"] = {
    "context": failure("word " * 4000),
    "model": failure(model="gpt-9"),
    "key": failure(api_key="wrong"),
    "value": failure(temperature=-1),
}
seen = 0
endless = model(SCRIPT).stream("endless")
for piece in endless:
    seen += bool(piece.content)
    if seen == 5:
        break
endless.close()
told["cancelled_after"] = seen
print(json.dumps(told))
