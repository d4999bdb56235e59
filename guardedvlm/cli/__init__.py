"""The command line: the only code that prints or exits.

Exit codes
  0  done
  1  refused: the guard or the policy said no, and nothing was released
  2  wrong usage, settings, policy or tenants file
  3  the input cannot be used (damaged, too large, not a picture, a question that cannot be examined)
  4  a part that is needed does not answer, or time ran out
  5  evidence does not verify
  6  the caller is not known, or not permitted
  70 an internal error; nothing was released
"""

from __future__ import annotations

import os
import sys

import typer

from guardedvlm import __version__
from guardedvlm.cli.commands import MARKUP, Commands
from guardedvlm.cli.output import complain, exit_code
from guardedvlm.errors import GuardedVLMError, Internal, Reason

TRACEBACK = "GUARDED_TRACEBACK"
"""Environment variable for developers: show the traceback of an internal error, which can show content."""

app = typer.Typer(
    name="guardedvlm",
    cls=Commands,
    help="Ask questions about pictures that may not leave the house: redact, verify, ask, screen, leave evidence.",
    epilog="Exit codes: 0 done, 1 refused, 2 usage or settings, 3 input, 4 unavailable or too late, "
    "5 evidence broken, 6 not permitted, 70 internal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"guardedvlm {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line and exit with one of the codes above; errors are one line."""
    try:
        app()  # usage errors, Exit and a closed pipe end in it
    except GuardedVLMError as error:
        complain(error)
        sys.exit(exit_code(error))
    except Exception as failure:
        if os.environ.get(TRACEBACK):
            raise
        # Its text and a traceback would show file names and content.
        defect = Internal(Reason.INTERNAL, error=type(failure).__name__[:64])
        complain(defect)
        sys.exit(exit_code(defect))
