"""Reading weight files: tensors only (no code in a file is ever run), with a strict check."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from reid_lib.files import check_archive


class WeightsError(ValueError):
    """A weight file is absent, damaged, unsafe or of another network; the message says what to do."""


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file, on the CPU.

    ``*.safetensors`` is read with safetensors, anything else with ``torch.load(weights_only=True)``, which
    builds tensors and plain containers and refuses everything else. A checkpoint ``{"state_dict": ...}`` or
    ``{"model": ...}`` is unwrapped, and the prefix ``module.`` (DataParallel) is taken off the names.

    Raises:
        WeightsError: no such file, a file that is cut short or damaged, or one that holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"weight file missing: {path}; give the path of an existing .safetensors, .pth or .pt file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no weights: expected names with tensors, found {_describe(content)}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path} holds no weights: expected a tensor for every name, found {_describe(value)} for "
                f"{name!r}; save the network's state_dict() alone"
            )
    return {name.removeprefix("module."): value for name, value in content.items()}


def load_weights(network: nn.Module, path: str | Path, ignore: tuple[str, ...] = ("classifier.",)) -> None:
    """Fill ``network`` with the weights of a file; nothing is changed unless every name and shape fits.

    Args:
        network: the network to fill, in place.
        path: as `load_state` takes it.
        ignore: names of the file that begin with one of these are left out (the classifier of the training
            identities, which no other data set can use).

    Raises:
        WeightsError: see `load_state` and `load_checked`.
    """
    load_checked(network, load_state(path), str(path), ignore)


def load_checked(network: nn.Module, state: dict[str, Tensor], source: str, ignore: tuple[str, ...] = ()) -> None:
    """As `load_weights`, for a state that is already read; ``source`` names it in messages.

    Batch normalisation's counter ``num_batches_tracked``, which files older than PyTorch 0.4.1 lack, may be
    absent: no output depends on it.

    Raises:
        WeightsError: names or shapes differ; the message gives the counts and the first three of each kind.
    """
    expected = network.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith(ignore)}
    missing = [name for name in expected if name not in state and not name.endswith(".num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    shapes = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in state.items()
        if name in expected and value.shape != expected[name].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    wrong = [f"{len(names)} {kind} ({_first_three(names)})" for kind, names in kinds.items() if names]
    if wrong:
        raise WeightsError(
            f"{source} holds the weights of another network than {type(network).__name__}, "
            f"of {len(expected)} names: {'; '.join(wrong)}; give a file saved from this architecture"
        )
    network.load_state_dict(expected | state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise _damaged(path, error) from None


def _read_torch(path: Path) -> object:
    try:
        check_archive(path)
        with warnings.catch_warnings():
            # the error below says it better
            warnings.filterwarnings("ignore", message=".*TorchScript archive")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    # a damaged file can raise nearly anything: IndexError, struct.error, EOFError, ...
    except Exception as error:
        if _refused(error):
            raise WeightsError(
                f"{path} holds more than tensors, and reading it could run code hidden in it, so it was "
                "not read; if you trust its source, convert it once: "
                'torch.save(torch.load("OLD.pth", map_location="cpu", weights_only=False)["state_dict"], '
                '"NEW.pth"), without ["state_dict"] if it has no such entry, or '
                'torch.save(torch.jit.load("OLD.pt").state_dict(), "NEW.pth") for a TorchScript archive'
            ) from None
        raise _damaged(path, error) from None


def _refused(error: Exception) -> bool:
    """Tell foreign objects in a file from damage: both can be an UnpicklingError, only the text differs."""
    marks = ("unsupported global", "unsupported class", "trying to call", "torchscript")
    return any(mark in str(error).lower() for mark in marks)


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} ({path.stat().st_size:,} bytes) is cut short or is no weight file "
        f"({type(error).__name__} while reading); copy or download it again"
    )


def _first_three(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _describe(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"
