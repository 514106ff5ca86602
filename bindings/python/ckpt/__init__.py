"""Checkpoints that a program asks for itself.

    import ckpt

    model = load()                      # what takes long, and is the same for all runs
    if ckpt.checkpoint():
        print("one more run from here") # in each process that was restarted from the image

The program runs under ``ckpt run``, or with ``LD_PRELOAD=libckpt.so``; without, :func:`available` is false. ckpt_checkpoint(3) is the
manual of the interface below this module; everything here is a call of it, by ctypes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from typing import Any, Callable, Optional, Sequence, Union

__all__ = ["NotSaved", "after_restart", "available", "branch", "checkpoint", "restarts", "restarted"]


class NotSaved(RuntimeError):
    """There is no image. libckpt.so has written the reason to standard error; the program runs on, and an earlier image is as it was."""


def _function(name: str) -> Optional[Any]:
    """A function of libckpt.so, if that is loaded. The name space is that of the whole process, preloaded libraries included."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except AttributeError:
        return None


def available() -> bool:
    """Whether libckpt.so is loaded into this process, so that it can be saved."""
    return _function("ckpt_checkpoint") is not None


def checkpoint() -> bool:
    """Saves this process. Returns False when the image is complete, and True in each process that is restarted from it.

    What Python has buffered for output is written before: else each process would write it again. Random generators go on with the
    same numbers in all of them: seed them anew where that matters.

    Raises :class:`NotSaved` when there is no image, also when libckpt.so is not loaded.
    """
    function = _function("ckpt_checkpoint")
    if function is None:
        raise NotSaved("libckpt.so is not loaded; run the program with: ckpt run PROGRAM")
    sys.stdout.flush()
    sys.stderr.flush()
    result = function()
    if result < 0:
        raise NotSaved("the process was not saved; see its standard error")
    return result == 1


def restarts() -> int:
    """How often this process has been restarted from an image: 0 in one that was started afresh."""
    function = _function("ckpt_restarts")
    if function is None:
        return 0
    function.restype = ctypes.c_uint
    return int(function())


def after_restart(function: Callable[[], object], signum: Optional[int] = None) -> bool:
    """Has `function` called in the main thread after each restart of this process, as a signal handler of Python is: before the main thread goes on
    with the next instruction. Seed random generators there: what was drawn before the save is the same in every process from one image. Takes the handler of the
    signal `signum`, by default SIGRTMIN + 10. Returns whether libckpt.so is loaded, and so whether there can be a restart at all.
    """
    number = signal.SIGRTMIN + 10 if signum is None else signum
    hook = _function("ckpt_after_restart")
    if hook is None:
        return False
    signal.signal(number, lambda *_: function())
    hook(int(number))
    return True


def branch(
    image: Union[str, "os.PathLike[str]"],
    *,
    options: Sequence[str] = (),
    command: Sequence[str] = ("ckpt", "restart"),
    **kwargs: Any,
) -> "subprocess.CompletedProcess[Any]":
    """Runs a process from an image, as :func:`subprocess.run` runs a program, and takes the same keyword arguments.

    Its standard input, output and error are those given here, whatever they were in the saved process. `options` are those of
    myrestart(1): ``["--lazy"]`` makes many branches of a large image cheap.
    """
    if command[0] == "ckpt" and shutil.which("ckpt") is None:
        raise FileNotFoundError("ckpt: not found; install it, or say with `command` where it is")
    streams = [part for number in "012" for part in ("--fd", f"{number}=&{number}")]
    return subprocess.run([*command, *streams, *options, os.fspath(image)], **kwargs)


def __getattr__(name: str) -> Any:
    """``ckpt.restarted``: whether this process was restarted from an image. It may change whenever the process is saved."""
    if name == "restarted":
        return restarts() > 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
