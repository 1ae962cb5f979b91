"""The clock of a run: a process that is stopped does not age."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from stemsplit.training.pace import Clock, Meter, Pace

needs_stops = pytest.mark.skipif(not hasattr(signal, "SIGCONT"), reason="a system without SIGSTOP")
RUN = """
import sys, time
from stemsplit.training.pace import Clock, Pace
clock = Clock(Pace(minutes=1 / 60))
with clock.minding_stops():
    print("on", flush=True)
    while not clock.is_over():
        clock.tick()
        time.sleep(0.02)
print(clock.now())
"""


@needs_stops
def test_a_process_that_is_stopped_does_not_lose_its_minutes() -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    began = time.monotonic()
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(process.pid, signal.SIGCONT)
    said, _ = process.communicate(timeout=30)
    assert time.monotonic() - began > 2  # a second of its own after the stop
    assert 1 <= float(said) < 1.5


@needs_stops
def test_the_handler_is_gone_after_the_run_and_never_there_in_a_thread() -> None:
    before = signal.getsignal(signal.SIGCONT)
    with Clock().minding_stops():
        assert signal.getsignal(signal.SIGCONT) != before
    assert signal.getsignal(signal.SIGCONT) == before
    seen = []

    def in_thread() -> None:
        with Clock().minding_stops():
            seen.append(signal.getsignal(signal.SIGCONT))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen == [before]


def test_the_meter_says_the_hours_of_all_steps() -> None:
    meter = Meter(36.0, Clock(Pace()))
    for loss in (1.0, 2.0):
        meter.add(loss)
    event = meter.read(50)
    assert (event["loss"], event["hours"]) == (1.5, 0.5)
