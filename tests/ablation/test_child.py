import os
import signal
import threading
import time

import pytest

from mflag.ablation.child import describe_exit, last_error, run_program
from mflag.runtime.signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_reaches_the_program(tmp_path, number):
    def send():
        while not (tmp_path / "there").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    with StopRequest() as request:
        sender.start()
        code = run_program(
            "tests.ablation.stoppable", [str(tmp_path / "there")], tmp_path / "log", request
        )
        sender.join()
    assert code == number and request.received is number


def test_output_and_command_go_to_the_log_and_a_missing_program_is_a_code(tmp_path):
    with StopRequest() as request:
        assert run_program("tests.ablation.absent", ["a=1"], tmp_path / "log", request) == 1
    assert (tmp_path / "log").read_text().startswith("$ python -m tests.ablation.absent a=1\n")
    assert "No module named" in last_error(tmp_path / "log")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("$ a\nerror: old\n$ b\nerror: new\nwarning\n", "error: new"),
        ("$ a\nerror: old\n$ b\nlast words\n", "last words"),
        ("", "nothing was printed"),
    ],
)
def test_the_last_error_of_the_last_command_is_told(tmp_path, text, said):
    (tmp_path / "log").write_text(text)
    assert last_error(tmp_path / "log") == said


def test_exit_codes_in_words():
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "ended by SIGKILL (out of memory?)"
