"""How a command finds the Matcher that a name stands for."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid_lib.evaluation.ranking import Matcher
    from reid_lib.session import Session
    from reid_lib.training.roster import Contestant

WEIGHT_FILES = (".pth", ".pt", ".tar", ".safetensors", ".onnx")


def find_matcher(name: str, run: "Session", seed: int) -> "tuple[str, Matcher]":
    """Return a method's title in tables and its Matcher.

    Args:
        name: a name of the roster, which is trained or loaded; a file of OSNet x0.25 weights; or module:name.
        run: data set, profile, device and results folder.
        seed: of a training.

    Raises:
        ValueError: a name that stands for nothing; the message says what there is.
    """
    from reid_lib.evaluation.matchers import pretrained, pretrained_name
    from reid_lib.training import roster

    if ":" in name and not Path(name).exists():
        return name.partition(":")[2], _own(name, run)
    if Path(name).is_file():
        return pretrained_name(name), pretrained(name, run.device)
    chosen = find_method(name, run)
    where = {"seed": seed, "folder": run.folder / "checkpoints", "device": run.device}
    return next(iter(roster.train_all(chosen, run.dataset, **where).items()))


def title(name: str, run: "Session") -> str:
    """Return the title that `find_matcher` gives a name, before anything is trained; errors as there."""
    from reid_lib.evaluation.matchers import pretrained_name

    if ":" in name and not Path(name).exists():
        return name.partition(":")[2]
    return pretrained_name(name) if Path(name).is_file() else next(iter(find_method(name, run)))


def find_method(name: str, run: "Session") -> "dict[str, Contestant]":
    """Return the method of the roster that a name stands for, by its title; nothing is trained.

    Raises:
        ValueError: a name that stands for nothing.
    """
    from reid_lib.training import roster

    if Path(name).suffix in WEIGHT_FILES:
        raise ValueError(f"there is no weight file {name}: give its path")
    genuine = run.dataset.genuine_lr_camid is not None
    return roster.find([name], roster.roster(run.profile, genuine_lr=genuine))


def _own(name: str, run: "Session") -> Any:
    """Import ``module:name``, from the working folder too; a function or a class is called with the data set."""
    from reid_lib.evaluation.comparison import PARTS

    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise ValueError(f"a Matcher of your own is named module:name, as an import has it; found {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] and error.name != module:
            raise
        raise ValueError(f"there is no module {module!r} here or installed: give module:name, found {name!r}") from None
    except AttributeError:
        raise ValueError(
            f"module {module} has no {attribute!r}: give module:name of a Matcher or of a function"
        ) from None
    ready = not isinstance(found, type) and all(hasattr(found, part) for part in PARTS)
    if not ready and not callable(found):
        raise ValueError(
            f"{name} must be a Matcher, which has {', '.join(PARTS)}, or a function of the data set that returns one; "
            f"found {found!r:.60}"
        )
    return found if ready else found(run.dataset)
