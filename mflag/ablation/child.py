"""Programs as processes of their own: what one does cannot take the others down."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import mflag
from mflag.runtime.signals import StopRequest

_POLL_S = 0.2
_GRACE_S = 30.0


def run_program(
    program: str, words: list[str], log: Path, request: StopRequest, lock: int | None = None
) -> int:
    """Run ``python -m PROGRAM WORDS`` to its end; hand on the signal that ``request`` receives.

    Args:
        program: a module.
        words: its overrides.
        log: file to which command and output are appended.
        request: entered; its first signal goes to the program, once.
        lock: descriptor that the program holds open for as long as it lives.

    Returns:
        The exit code; negative: the number of the signal that ended it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    root = str(Path(mflag.__file__).parents[1])  # the same code, whatever the folder
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(log, "ab") as file:
        file.write(f"$ {shlex.join(['python', '-m', program, *words])}\n".encode())
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", program, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            process_group=0,  # Ctrl-C reaches it through ``request`` alone
            pass_fds=() if lock is None else (lock,),
        )
        try:
            return _wait(process, request)
        finally:
            _end(process)


def last_error(log: Path) -> str:
    """Return the last line of a log that says what went wrong, or its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    of_last = lines[max((k for k, line in enumerate(lines) if line.startswith("$ ")), default=0) :]
    errors = [line.strip() for line in of_last if line.startswith("error:")]
    return (errors or of_last or ["nothing was printed"])[-1]


def describe_exit(code: int) -> str:
    """Return an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _wait(process: subprocess.Popen[bytes], request: StopRequest) -> int:
    handed_on = False
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if request.received is not None and not handed_on:
                process.send_signal(request.received)
                handed_on = True


def _end(process: subprocess.Popen[bytes]) -> None:
    """After a second Ctrl-C: do not leave the program behind."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
