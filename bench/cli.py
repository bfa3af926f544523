"""The program ``centralpath``: reads the command line, runs one command, and turns errors into one line."""

import sys
from collections.abc import Sequence

from bench.guard import check_names

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0: some experiments failed; an option or a file is wrong; stopped from the keyboard."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code.

    Args:
        arguments: without the program's name (None: those of the process).
    """
    try:
        return _run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        print("interrupted; the same command carries on from what is stored", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    import tyro

    try:
        from bench.commands import Command
    except ImportError:
        check_names()  # a foreign package under one of our names explains it better
        raise
    command = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="centralpath",
        description="Imitation-learning and control benchmark with model predictive controllers as experts.",
        args=arguments,
    )
    check_names()
    return command.run()


if __name__ == "__main__":
    sys.exit(main())
