"""What is asked: the same question of everyone."""

from collections.abc import Mapping

import msgspec

QUESTION = "Which three things should a newcomer to this project read first, and why those? Answer in short sentences."


def chat_body(model: str, *, stream: bool) -> str:
    """An OpenAI chat completion with one message."""
    return json_text({"model": model, "stream": stream, "messages": [{"role": "user", "content": QUESTION}]})


def json_text(body: Mapping[str, object]) -> str:
    return msgspec.json.encode(body).decode()
