"""The simulator asked directly: what every product's numbers stand on."""

from bench.load.job import Target
from bench.simulated import SimulatedProvider
from bench.words import TURNS, chat_bodies


def direct(simulator: SimulatedProvider, script: str, *, stream: bool) -> Target:
    return Target(
        host="127.0.0.1",
        port=simulator.port,
        path="/v1/chat/completions",
        headers={"Authorization": "Bearer sk-simulated"},
        bodies=chat_bodies(script, stream=stream, turns=TURNS),
        turns=TURNS,
    )
