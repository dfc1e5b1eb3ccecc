"""What the allocator is told, seen from outside: a process of its own, by its resident memory."""

import subprocess
import sys

import pytest

FREED = """
from pathlib import Path
from thermosharp.allocator import give_back
def resident():
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmRSS:")[1].split()[0]) / 1024
held = [bytearray(b"x" * 50_000) for _ in range(4_000)]
del held[:-1]
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and glibc alone can do it")
def test_memory_between_what_is_held_is_given_back():
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 100  # MB of 200
