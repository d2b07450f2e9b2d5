"""What numpy computes with, in the context service."""

import os
import subprocess
import sys

_CHECK = """
import copilot_context_service.worker, os, threading
import numpy
vectors = numpy.ones((8_000, 256), numpy.float32)
for _ in range(10):
    vectors @ vectors[0]
print(len(os.listdir("/proc/self/task")))
"""


def test_products_are_not_divided_among_threads() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS")}
    done = subprocess.run([sys.executable, "-c", _CHECK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
