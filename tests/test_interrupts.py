"""Signals: the first stops in order, the second ends at once, and what a caller ignores stays ignored."""

import os
import signal
import subprocess
import sys

import pytest

from holdfast.interrupts import SIGNALS, Stopped, deferred_interrupt, raising_interrupts

TWICE = """
import os, signal, sys
from holdfast.interrupts import deferred_interrupt, raising_interrupts
with raising_interrupts(), deferred_interrupt() as noted:
    os.kill(os.getpid(), int(sys.argv[1]))
    assert noted() == int(sys.argv[1])
    print("noted", flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
    print("went on", flush=True)
"""


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("signum", SIGNALS)
def test_signals_raise_or_are_noted_and_handlers_are_given_back(signum):
    before = signal.getsignal(signum)
    with raising_interrupts():
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signum)
        assert stopped.value.signum == signum
    with raising_interrupts(), deferred_interrupt() as noted:
        assert noted() == 0
        signal.raise_signal(signum)
        assert noted() == signum
    assert signal.getsignal(signum) is before


@pytest.mark.usefixtures("no_nohup")
@pytest.mark.parametrize("signum", SIGNALS)
def test_the_second_signal_ends_the_process(source, signum):
    command = [sys.executable, "-c", TWICE, str(int(signum))]
    environment = os.environ | {"PYTHONPATH": str(source.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (-signum, "noted\n"), done.stderr


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda signum, frame: None])
def test_what_the_caller_ignores_or_handles_stays_so(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with raising_interrupts(), deferred_interrupt() as noted:
            signal.raise_signal(signal.SIGTERM)
            assert noted() == 0
    finally:
        signal.signal(signal.SIGTERM, before)
