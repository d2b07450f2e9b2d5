"""`python -m bench.load`: a Job on stdin, its Outcome on stdout."""

import gc
import sys

import msgspec
import uvloop

from bench.load.generator import Generator
from bench.load.job import Job


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    gc.freeze()
    gc.disable()  # seconds long and small: a collection would only show up as somebody else's latency
    outcome = uvloop.run(Generator(job).run())
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
