"""What is asked: the same question of everyone."""

from collections.abc import Mapping

import msgspec

TURNS = 10
"""Of a conversation, before the next one."""

ANSWER = " ".join(f"word{number}" for number in range(20))
"""What the simulator says."""

QUESTION = "Which three things should a newcomer to this project read first, and why those? Answer in short sentences."


def chat_bodies(model: str, *, stream: bool, turns: int) -> list[str]:
    """OpenAI chat completions, one a turn: a proxy keeps nothing, so its client sends the conversation so far."""
    question, answer = {"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}
    return [
        json_text({"model": model, "stream": stream, "messages": [*([question, answer] * turn), question]})
        for turn in range(turns)
    ]


def json_text(body: Mapping[str, object]) -> str:
    return msgspec.json.encode(body).decode()
