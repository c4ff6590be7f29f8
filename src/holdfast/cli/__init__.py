"""The command line: one module a verb, imported only when that verb runs."""

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, TextIO

from .. import __version__
from ..errors import nearest
from ..printable import PLAIN, in_lines, printable

__all__ = ["VERBS", "Verb", "main"]


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        module: Module in `holdfast.cli` that holds it.
        entry: Name of its dataclass of options, which has a method `run`, or of a function of the remaining arguments.
        summary: One line for `holdfast --help`.
        after_interrupt: Message after Ctrl-C, SIGTERM or SIGHUP.
    """

    module: str
    entry: str
    summary: str
    after_interrupt: str = "nothing was written"


VERBS = {
    "demo": Verb("demo", "Demo", "Clone a quadrotor demonstration in two ways and compare them; takes a few minutes."),
    "demonstrate": Verb("demonstrate", "Demonstrate", "Record demonstrations with a built-in expert."),
    "inspect": Verb("inspect", "Inspect", "Report what a data set contains and what is wrong with it."),
    "replay": Verb("replay", "Replay", "Run recorded episodes again in their environment, by states and by actions."),
    "convert": Verb("convert", "Convert", "Write a data set in another format."),
    "train": Verb("train", "Train", "Train a policy on demonstrations."),
    "pretrain": Verb("pretrain", "Pretrain", "Train an encoder of pictures on pictures without labels."),
    "skills": Verb("skills", "Skills", "Make a library of trained skills with a selector."),
    "finetune": Verb("finetune", "Finetune", "Fine-tune a trained policy by policy gradients."),
    "evaluate": Verb("evaluate", "Evaluate", "Run a trained policy in its environment and score it."),
    "runs": Verb("runs", "Runs", "List trained policies, what tells their recipes apart, and scores."),
    "compare": Verb("compare", "Compare", "Compare trained policies from the same starts."),
    "diagnose": Verb("diagnose", "Diagnose", "Run every diagnostic on a trained policy."),
    "serve": Verb("serve", "Serve", "Serve a trained policy to robots over a websocket."),
    "export": Verb("export", "Export", "Write a trained policy as a graph that runs without Holdfast."),
    "study": Verb(
        "study",
        "run_study",
        "Reproduce a published result, or test a claim of the theory.",
        "finished parts are saved, and the same command continues from there",
    ),
}

_OVERVIEW = """\
usage: holdfast VERB [OPTIONS]

Behavior cloning for continuous control that holds on to the demonstrated behavior.

verbs:
{verbs}

options:
  -h, --help    Show this message.
  --version     Show the version.

Run `holdfast VERB --help` for the options of a verb.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit status: 0, 1 after an error, 2 after invalid arguments, 130 after Ctrl-C, 143 after
        SIGTERM, 129 after SIGHUP.
    """
    _show_any_text(is_program=arguments is None)
    try:
        try:
            return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        # while modules are imported, before `run_verb` answers signals, or after it has ended
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:
        # the reader of the output is gone, as in `holdfast --help | head -1`
        _drop_output()
    except OSError as error:
        _drop_output()
        sys.stderr.write(f"error: standard output cannot be written ({printable(error)}). Send it elsewhere.\n")
    return 1


def _show_any_text(*, is_program: bool) -> None:
    """Let no symbol that the terminal lacks, no name from a file and no closed stream disturb the output."""
    # after `>&-` there is none
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        # streams that a program put in their place may not have this method
        if callable(change := getattr(stream, "reconfigure", None)):
            change(errors=PLAIN)
    if is_program:
        sys.excepthook = _show_traceback


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import traceback  # here, because it is rarely needed

    sys.stderr.write(in_lines("".join(traceback.format_exception(kind, error, trace))))


def _drop_output() -> None:
    """Give standard output another target: the interpreter would fail again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    name, rest = (arguments or ["--help"])[0], arguments[1:]
    if name in VERBS:
        from .running import run_verb  # here, because it imports tyro, and verbs import PyTorch

        return run_verb(name, VERBS[name], rest)
    if name in ("-h", "--help"):
        width = max(map(len, VERBS))
        lines = (f"  {verb:{width}}   {about.summary}" for verb, about in VERBS.items())
        sys.stdout.write(_OVERVIEW.format(verbs="\n".join(lines)))
        return 0
    if name == "--version":
        sys.stdout.write(f"holdfast {__version__}\n")
        return 0
    kind, known = ("option", ("--help", "--version")) if name.startswith("-") else ("verb", VERBS)
    sys.stderr.write(f"error: unknown {kind} '{printable(name)}'. Known: {', '.join(known)}.{nearest(name, known)}\n")
    return 2
