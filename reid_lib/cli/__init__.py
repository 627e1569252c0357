"""The command line: `reid-lib COMMAND --help` shows what each command takes.

Exit codes: 0 all is well, 1 a check or a notebook failed, 2 wrong usage or bad input, 130 interrupted, 143
terminated. Heavy imports stand in the functions that need them, so that help comes at once.
"""

import errno
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Union

import tyro
from tyro.conf import subcommand

from reid_lib.cli.compare import Compare
from reid_lib.cli.data import Data
from reid_lib.cli.export import Export
from reid_lib.cli.features import Features, Vpfa
from reid_lib.cli.project import List, Readme, Reproduce, Site, Status, Verify
from reid_lib.cli.score import Score
from reid_lib.cli.search import Search
from reid_lib.cli.train import Train

DEBUG_VARIABLE = "REID_LIB_DEBUG"
NARROWEST = 60  # columns of a help text
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

COMMANDS = {
    "reproduce": (
        Reproduce,
        "Run the notebooks side by side; skip what is up to date, say what failed, resume next time.\n\n"
        'Examples:\n\nreid-lib reproduce\n\nreid-lib reproduce --only "Baselines Kernel sensitivity"\n\n'
        "reid-lib reproduce --dataset viper --data-root ~/data/VIPeR --seeds 0 1 2",
    ),
    "list": (
        List,
        "List every table and figure of the papers, its notebook, and whether it is done.\n\n"
        "Example: reid-lib list --paper lrar",
    ),
    "status": (
        Status,
        "Show which notebooks are up to date, and which results are there.\n\nExample: reid-lib status",
    ),
    "verify": (
        Verify,
        "Read all committed results and notebooks again and check that they hold together.\n\nExample: reid-lib verify",
    ),
    "data": (Data, "Check a data set, write trials, or an MLR set.\n\nExample: reid-lib data check synth"),
    "train": (
        Train,
        "Train a method as its notebook does, into the folder where the notebook finds it: in several processes or on "
        "several GPUs, which a notebook cannot.\n\n"
        "Examples:\n\nreid-lib train lrar --dataset viper --data-root ~/data/VIPeR --seeds 0 1 2\n\n"
        "accelerate launch --multi_gpu --num_processes 2 -m reid_lib train lrar --profile paper",
    ),
    "compare": (
        Compare,
        "Rank the same trials with several methods, yours among them: Rank-1, mAP and paired gains with intervals, and "
        "the pictures of notebook 23.\n\n"
        'Examples:\n\nreid-lib compare lrar cadnet "HR + LR"\n\n'
        'reid-lib compare my_model:matcher lrar "HR + LR" --dataset viper --data-root ~/data/VIPeR -o compared',
    ),
    "features": (
        Features,
        "Embed the images of a data set with a network, down-sampled if asked, and write the features.\n\n"
        "Examples:\n\nreid-lib features viper --root ~/data/VIPeR --weights osnet_x0_25_msmt17.pth -o viper.npz\n\n"
        "reid-lib features viper --root ~/data/VIPeR --weights osnet_x0_25_msmt17.pth --part train --rates 2 3 4 "
        "-o lr.npz",
    ),
    "vpfa": (
        Vpfa,
        "Fit VPFA on feature files of any re-ID model, or apply it.\n\n"
        "Example: reid-lib vpfa fit --lr lr.npz --hr hr.npz -o vpfa.safetensors",
    ),
    "score": (
        Score,
        "Rank feature files of any re-ID model: CMC and mAP, with intervals over identities.\n\n"
        "Example: reid-lib score panned.npz gallery.npz --rerank",
    ),
    "search": (
        Search,
        "Look for images of a person among others: ranked lists as CSV and as pictures.\n\n"
        "Examples:\n\nreid-lib search query.jpg --gallery crops --model osnet_x0_25_msmt17.pth -o found\n\n"
        "reid-lib search queries --gallery crops --model lrar -o found --false-match-rate 0.01 --calibrate synth",
    ),
    "export": (
        Export,
        "Write a method as ONNX, checked with onnxruntime against PyTorch: uint8 images in, features out.\n\n"
        "Examples:\n\nreid-lib export lrar -o lrar.onnx\n\nreid-lib export vpfa.safetensors -o vpfa.onnx",
    ),
    "readme": (
        Readme,
        "Rebuild the tables of results in README.md.\n\nExample: reid-lib readme --check",
    ),
    "site": (
        Site,
        "Build the site: results, rendered notebooks, documents and the API as pages that need no network.\n\n"
        "Example: reid-lib site --out ~/reid-site",
    ),
}


DESCRIPTION = (
    "Five papers on cross-resolution person re-identification, reproduced.\n\n"
    "reid-lib COMMAND --help shows what a command takes. Exit codes: 0 all is well, 1 a check or a notebook "
    "failed, 2 wrong usage or bad input, 130 interrupted, 143 terminated. --debug shows tracebacks."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; bad input is one sentence on stderr.

    ``--debug`` anywhere, or REID_LIB_DEBUG=1, shows the traceback instead.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed in the shell, by >&-
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # a terminal that is not UTF-8 shows "?", and ends no run
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        return _execute([_expanded(argument) for argument in arguments if argument != "--debug"])
    except BrokenPipeError:  # the reader of our output, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        print("reid-lib: interrupted; the same command goes on from what is done", file=sys.stderr)
        return getattr(error, "exit_code", 130)  # `jobs.Terminated` has its own
    except Exception as error:
        own = type(error).__module__.startswith("reid_lib.")
        if debug or not (own or isinstance(error, ValueError | OSError | ImportError)):
            raise  # a fault of the program, not of its input
        print(f"reid-lib: {_sentence(error)}", file=sys.stderr)
        return 2


def _expanded(argument: str) -> str:
    """Put the user's home in place of "~", also in --weights=~/w.pth, where a shell leaves it."""
    name, equals, value = argument.partition("=")
    return f"{name}={os.path.expanduser(value)}" if argument[:2] == "--" and equals else os.path.expanduser(argument)


def _execute(arguments: list[str]) -> int:
    """Run a command. What it said is written out here: when Python ends, nobody catches that the reader has gone."""
    try:
        code = _parse(arguments).run()
    except SystemExit:  # tyro's, after --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _parse(arguments: list[str]):
    if shutil.get_terminal_size().columns < NARROWEST:  # letter under letter; with one column tyro does not end
        os.environ["COLUMNS"] = str(NARROWEST)
    choices = [Annotated[kind, subcommand(name, description=text)] for name, (kind, text) in COMMANDS.items()]
    return tyro.cli(
        Union[tuple(choices)],  # noqa: UP007 - made from the table of commands
        prog="reid-lib",
        description=DESCRIPTION,
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        todo = "; make room there, or name another place" if error.errno in _FULL else ""
        return (f"{error.strerror}: {error.filename}" if error.filename else error.strerror) + todo
    return str(error) or type(error).__name__
