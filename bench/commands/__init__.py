"""The commands of ``centralpath``: one frozen dataclass each, whose fields are its options.

Nothing heavy is imported here: ``--help`` comes from these classes alone, and each ``run`` imports
what it needs.
"""

from typing import Annotated

from tyro.conf import subcommand

from bench.commands.evaluate import Evaluate
from bench.commands.explicit import Explicit
from bench.commands.export import Export
from bench.commands.generate import Generate
from bench.commands.quickstart import Quickstart
from bench.commands.report import Report
from bench.commands.speed import Speed
from bench.commands.study import Study
from bench.commands.sweep import Sweep
from bench.commands.systems import Systems
from bench.commands.train import Train

Command = (
    Annotated[Systems, subcommand("systems")]
    | Annotated[Generate, subcommand("generate")]
    | Annotated[Explicit, subcommand("explicit")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Study, subcommand("study")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Speed, subcommand("speed")]
    | Annotated[Quickstart, subcommand("quickstart")]
)
"""What the command line offers."""
