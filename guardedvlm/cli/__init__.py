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
from importlib.util import find_spec

import typer

from guardedvlm import __version__
from guardedvlm.cli import model, openai_api, serve
from guardedvlm.cli.output import complain, exit_code
from guardedvlm.errors import GuardedVLMError, Internal, Reason

TRACEBACK = "GUARDED_TRACEBACK"
"""Environment variable for developers: show the traceback of an internal error, which can show content."""

app = typer.Typer(
    name="guardedvlm",
    help="Ask questions about pictures that may not leave the house: redact, verify, ask, screen, leave evidence.",
    epilog="Exit codes: 0 done, 1 refused, 2 usage or settings, 3 input, 4 unavailable or too late, "
    "5 evidence broken, 6 not permitted, 70 internal.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


GUARD = "presidio_analyzer"
"""A package of the guard's: where it is missing, the machine is one for inference, or for the OpenAI front."""


def _add_without_guard() -> None:
    app.command("serve-inference")(serve.serve_inference)
    app.command("openai")(openai_api.openai)
    app.add_typer(model.app, name="model")


def _add_all() -> None:
    from guardedvlm.cli import (
        ask,
        audit,
        batch,
        console,
        demo,
        doctor,
        evaluate,
        extract,
        init,
        keys,
        playground,
        policy,
        receipt,
        redact,
        reidentify,
        review,
    )

    app.command("demo")(demo.demo)
    app.command("init")(init.init)
    app.command("serve")(serve.serve)
    app.command("serve-inference")(serve.serve_inference)
    app.command("ask")(ask.ask)
    app.command("extract")(extract.extract)
    app.command("redact")(redact.redact)
    app.command("batch")(batch.batch)
    app.command("batch-status")(batch.batch_status)
    app.command("reidentify")(reidentify.reidentify)
    app.command("doctor")(doctor.doctor)
    app.command("console")(console.console)
    app.command("playground")(playground.playground)
    app.command("openai")(openai_api.openai)
    app.add_typer(policy.app, name="policy")
    app.add_typer(model.app, name="model")
    app.add_typer(evaluate.app, name="eval")
    app.add_typer(audit.app, name="audit")
    app.add_typer(receipt.app, name="receipt")
    app.add_typer(review.app, name="review")
    app.add_typer(keys.app, name="keys")


if find_spec(GUARD) is None:
    _add_without_guard()
else:
    _add_all()


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
