"""From how a verb ended to its exit code, in one place (INTERFACES, Command line).

0 done · 1 the answer is "no" · 2 wrong use or bad configuration · 3 the environment failed.
"""

from __future__ import annotations

import enum
import os
import sys
import traceback
from collections.abc import Callable

import click


class Exit(enum.IntEnum):
    """The codes that mean something; besides, 130 after Ctrl-C and 141 when nobody reads, as in every shell."""

    DONE = 0
    NO = 1
    WRONG_USE = 2
    ENVIRONMENT = 3
    INTERRUPTED = 130
    UNREAD = 141


class AnswerIsNoError(Exception):
    """The verb did its work and the answer is "no": a check failed, a chain does not verify, a decision is refused."""


class WrongUseError(Exception):
    """What was asked for cannot be, as it was asked; the message says what was meant."""


# Error types by the module that raises them. They are looked up, never imported: a module that is not loaded raised
# nothing.
CODES: tuple[tuple[str, str, Exit], ...] = (
    ("monitor.cli.exits", "AnswerIsNoError", Exit.NO),
    ("monitor.cli.exits", "WrongUseError", Exit.WRONG_USE),
    ("monitor.storage", "StoreOwnedError", Exit.WRONG_USE),
    ("monitor.storage", "NewerSchemaError", Exit.WRONG_USE),
    ("monitor.storage", "StoreMisusedError", Exit.WRONG_USE),
    ("monitor.storage", "StoreError", Exit.ENVIRONMENT),
    ("monitor.storage.backup", "BackupError", Exit.WRONG_USE),
    ("monitor.ledger.restoring", "RestoreRefusedError", Exit.NO),
    ("monitor.config", "ConfigError", Exit.WRONG_USE),
    ("monitor.config.starter", "AlreadyThereError", Exit.WRONG_USE),
    ("monitor.app", "AdoptionError", Exit.WRONG_USE),
    ("monitor.control", "ControlError", Exit.ENVIRONMENT),
    ("monitor.sealing.keys", "KeyFileError", Exit.ENVIRONMENT),
    ("monitor.web.tokens", "TokenFileError", Exit.ENVIRONMENT),
    ("monitor.ledger.command", "CommandError", Exit.WRONG_USE),
    ("monitor.ledger.interchange.incoming", "ImportRefusedError", Exit.WRONG_USE),
    ("monitor.ledger.month", "NoSuchVersionError", Exit.WRONG_USE),
    ("builtins", "OSError", Exit.ENVIRONMENT),
)


def code_of(verb: Callable[[], object]) -> int:
    """Run the verb; say on stderr what went wrong, in one line where it is known; give the exit code."""
    try:
        answer = verb()
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.WRONG_USE
    except BrokenPipeError:
        # Whatever is still buffered has no reader; without this the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNREAD
    except Exception as error:  # noqa: BLE001 - the last line of the program: a crash must not read as the answer "no"
        return _told(error)
    return answer if isinstance(answer, int) else Exit.DONE


def _told(error: Exception) -> Exit:
    for module, name, code in CODES:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            for line in _lines(error):
                click.echo(line, err=True)
            return code
    traceback.print_exception(error)
    click.echo("jaga: that is a fault of jaga itself; please report it with the lines above", err=True)
    return Exit.ENVIRONMENT


def _lines(error: Exception) -> list[str]:
    """One sentence; of several problems each on its own line, bare, so that `file:line:column:` can be followed."""
    if getattr(error, "problems", ()):
        return str(error).splitlines()
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        about = f"{error.filename}: " if error.filename else ""
        return [f"jaga: {about}{error.strerror or error}"]
    return [f"jaga: {error}"]
