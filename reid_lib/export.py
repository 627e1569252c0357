"""Methods as ONNX files: uint8 images in, what is compared out, checked against PyTorch before a file is kept."""

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from reid_lib.evaluation.matchers import FeatureMatcher, PannedMatcher
from reid_lib.evaluation.ranking import Matcher
from reid_lib.files import whole
from reid_lib.networks.inputs import normalise, to_uint8
from reid_lib.training.behind_baseline import VPFAConfig
from reid_lib.training.cadnet import CADNetMatcher
from reid_lib.training.intact import INTACTConfig, INTACTMatcher
from reid_lib.training.lrar import LRARConfig, LRARMatcher
from reid_lib.training.vpfa import VectorPanning

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
COSINE = 0.9999  # between a row of onnxruntime's output and of PyTorch's, at least (decision EVAL-22)
SEVERAL = ("one model per rate", "DRFM")  # of the roster
_OWN_LENGTH = "as the network gives it"
_WHAT = "what can be exported is the baseline, LRAR, CAD-Net, INTACT, VPFA and weight files"


class ExportError(ValueError):
    """What was given cannot be exported; the message says why."""


@dataclass(frozen=True)
class Part:
    """One file of a method.

    Attributes:
        module: maps the input (N, ...) to the output (N, ...), in eval mode on the CPU.
        reference: gives what ``module`` should, by the Matcher's own way.
        metadata: what the file says of itself.
    """

    module: nn.Module
    reference: Callable[[torch.Tensor], torch.Tensor]
    metadata: dict[str, Any]


class Inference(nn.Module):
    """A network behind its pre-processing: uint8 images (N, 3, H, W), resized and normalised."""

    def __init__(self, network: nn.Module, embed: Callable, size: tuple[int, int], unit: bool) -> None:
        super().__init__()
        self.network, self.embed, self.size, self.unit = network, embed, size, unit

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (N, 3, H, W) to features (N, d), of length 1 if ``unit``."""
        features = self.embed(normalise(images, self.size)).float()
        return nn.functional.normalize(features) if self.unit else features


class AtLevel(nn.Module):
    """LRAR at one level."""

    def __init__(self, network: nn.Module, level: int) -> None:
        super().__init__()
        self.network, self.level = network, level

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised images (N, 3, h, w) to zero-padded features (N, d)."""
        return self.network(x, torch.full((x.shape[0],), self.level, device=x.device))


class Generated(nn.Module):
    """INTACT's G between uint8 images."""

    def __init__(self, generator: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.generator, self.size = generator, size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (N, 3, H, W) to G's images, uint8 (N, 3, H, W)."""
        return to_uint8(self.generator(normalise(images, self.size)), tuple(images.shape[2:]))


class Panned(nn.Module):
    """A network with VPFA's module behind it."""

    def __init__(self, base: Inference, panning: nn.Module) -> None:
        super().__init__()
        self.base, self.panning = base, panning

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (N, 3, H, W) to panned features (N, d) of length 1."""
        return nn.functional.normalize(self.panning(self.base(images)))


def parts(matcher: Matcher) -> dict[str, Part]:
    """Return the feed-forward networks of a Matcher by name; "" where one is all there is.

    LRAR has one for each level, INTACT "query" (G, then C), "gallery" (C) and "G", VPFA "query" and "gallery".

    Args:
        matcher: on the CPU.

    Raises:
        ExportError: a Matcher that is not made of single feed-forward networks.
    """
    if isinstance(matcher, LRARMatcher):
        return {f"level{level}": _level(matcher, level) for level in range(1, len(matcher.rates) + 1)}
    if isinstance(matcher, INTACTMatcher):
        gallery = _features(matcher.critic, "INTACT", "gallery")
        generated = Generated(matcher.network.G, matcher.input_size)
        about = {"paper": "INTACT", "rates": "any"}
        return {
            "query": Part(nn.Sequential(generated, gallery.module), _query(matcher), about | {"side": "query"}),
            "gallery": gallery,
            "G": Part(generated, matcher.recover, about | {"side": "G: images for the critic"}),
        }
    if isinstance(matcher, PannedMatcher):
        base = _features(matcher, "VPFA", "gallery")
        if getattr(matcher.panning, "per_rate", True) or not isinstance(matcher.panning, VectorPanning):
            raise ExportError("a map for each rate is several networks: export a VPFA of one module (per_rate=False)")
        own = Inference(base.module.network, base.module.embed, base.module.size, unit=False)
        module = Panned(own, next(iter(matcher.panning.maps_.values())))
        return {"query": Part(module, _query(matcher), base.metadata | {"side": "query"}), "gallery": base}
    if isinstance(matcher, FeatureMatcher):
        paper = "CAD-Net" if isinstance(matcher, CADNetMatcher) else ""
        return {"": _features(matcher, paper, "query and gallery")}
    raise ExportError(f"{type(matcher).__name__} is not one feed-forward network: {_WHAT}")


def part_names(method: str, config: object) -> tuple[str, ...]:
    """Return the names that `parts` gives of a method of the roster, which need not be trained for it.

    Args:
        method: its name in tables.
        config: its configuration.

    Raises:
        ExportError: a method that is not made of single feed-forward networks.
    """
    if method in SEVERAL:
        raise ExportError(f"{method} is not one feed-forward network: {_WHAT}")
    if isinstance(config, LRARConfig):
        return tuple(f"level{level}" for level in range(1, len(config.rates) + 1))
    if isinstance(config, INTACTConfig):
        return ("query", "gallery", "G")
    return ("query", "gallery") if isinstance(config, VPFAConfig) else ("",)


def check_part(part: str, names: Iterable[str], model: str) -> None:
    """Raise ExportError where a model has no part of this name; "" stands for all."""
    known = [name for name in names if name]
    if part and part not in known:
        todo = f"part must be one of {', '.join(known)}" if known else f"{model} is one network: leave --part out"
        raise ExportError(f"{todo}; found {part!r}")


def is_panning(file: Path) -> bool:
    """Return whether a file is one that an estimator's ``save`` wrote, VPFA's module and not a network's weights."""
    if file.suffix != ".safetensors" or not file.is_file():
        return False
    try:
        with safe_open(file, "pt") as opened:
            return "class" in (opened.metadata() or {})
    except SafetensorError:
        return False  # who reads the weights says what is wrong with it


def weight_file_parts(matcher: FeatureMatcher) -> dict[str, Part]:
    """Return a weight file's network: features as `reid-lib features` writes them, which VPFA's module takes.

    Args:
        matcher: of `matchers.pretrained`, on the CPU.
    """
    found = _features(matcher, "", "query and gallery")
    # of length 1 they would be other inputs to a module that was fitted on a feature file
    module = Inference(found.module.network, found.module.embed, found.module.size, unit=False)
    return {"": Part(module, found.reference, found.metadata | {"length": _OWN_LENGTH})}


def panning_parts(file: Path) -> dict[str, Part]:
    """Return VPFA's modules of a file that `VectorPanning.save` wrote: features (N, d) to features (N, d)."""
    panning = VectorPanning.load(file, torch.device("cpu"))

    def reference(rate: int) -> Callable:
        return lambda z: panning.transform(z, torch.full((len(z),), rate) if panning.per_rate else None)

    about = {"paper": "VPFA", "side": "query features", "width": panning.n_features_in_, "length": _OWN_LENGTH}
    return {
        f"rate{rate}" if panning.per_rate else "": Part(
            module.eval(), reference(rate), about | {"rates": rate if panning.per_rate else "any"}
        )
        for rate, module in panning.maps_.items()
    }


def check_packages() -> None:
    """Raise ExportError where a package is missing that the export needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"an export needs {', '.join(missing)}, not installed: pip install 'reid-lib[onnx]'")


def export(part: Part, samples: torch.Tensor, path: Path) -> float:
    """Write a part as ONNX, if onnxruntime gives what the Matcher gives; return their least cosine.

    The batch may have any size; height and width are those of the samples.

    Args:
        part: of `parts` or `panning_parts`.
        samples: (n, ...), n >= 2, what the check embeds: uint8 images, or features.
        path: the file.

    Raises:
        ExportError: a package is missing, or a cosine is below 0.9999; nothing is written then.
    """
    check_packages()
    import onnx

    batch = {0: torch.export.Dim("batch")}
    names = {"input_names": ["input"], "output_names": ["output"], "dynamic_shapes": (batch,)}
    with torch.no_grad(), warnings.catch_warnings():
        # said of a copy that torch.export has made itself: the check below shows whether the file is right
        warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node", UserWarning)
        program = torch.onnx.export(part.module.eval(), (samples,), dynamo=True, verbose=False, **names)
    model = program.model_proto
    sample = {"input": list(samples.shape[1:]), "input_type": str(samples.dtype).removeprefix("torch.")}
    for name, value in (part.metadata | sample).items():
        model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    cosine = least_cosine(data, part, samples)
    if not cosine >= COSINE:
        raise ExportError(
            f"onnxruntime differs from PyTorch: the least cosine is {cosine:.6f}, at least {COSINE} is needed"
        )
    with whole(path) as temporary:
        temporary.write_bytes(data)
    return cosine


def least_cosine(data: bytes, part: Part, samples: torch.Tensor) -> float:
    """Return the least cosine between rows of onnxruntime's output and of the Matcher's, in batches of one and more."""
    import onnxruntime

    run = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = [run.run(None, {"input": some.numpy()})[0] for some in (samples[:1], samples[1:])]
    with torch.no_grad():
        expected = part.reference(samples).double().flatten(1)
    own = torch.from_numpy(np.concatenate(found)).double().flatten(1)
    if own.shape != expected.shape:
        raise ExportError(f"onnxruntime gives {tuple(own.shape)}, PyTorch {tuple(expected.shape)}")
    return nn.functional.cosine_similarity(own, expected).min().item()


def _features(matcher: FeatureMatcher, paper: str, side: str) -> Part:
    network = getattr(matcher.embed, "__self__", matcher.embed)
    if not isinstance(network, nn.Module):
        raise ExportError(f"the features come from {type(network).__name__}, not from a network: it cannot be exported")
    unit = not (isinstance(matcher, CADNetMatcher) and matcher.network.neck is None)
    about = {"paper": paper, "side": side, "rates": "any", "size": list(matcher.input_size)}
    about |= {"compared_by": "cosine", "length": "1"} if unit else {"compared_by": "Euclidean distance"}
    return Part(Inference(network, matcher.embed, matcher.input_size, unit), matcher.embed_gallery, about)


def _level(matcher: LRARMatcher, level: int) -> Part:
    network, levels = AtLevel(matcher.network, level), torch.tensor([level])
    rate = sorted(matcher.rates, reverse=True)[level - 1]
    about = {"paper": "LRAR", "level": level, "levels": len(matcher.rates), "rates": [rate]}
    about["side"] = "query and gallery" if level == len(matcher.rates) else "query"
    about["kept"] = int(matcher.network.widths(levels)[0])  # numbers that are compared, the rest are zeros
    about["size"] = list(matcher.input_size)

    def reference(images: torch.Tensor) -> torch.Tensor:
        return matcher.embed_at(images, levels.expand(len(images)))[:, :-1]

    return Part(Inference(network, network, matcher.input_size, unit=False), reference, about)


def _query(matcher: Matcher) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda images: matcher.embed_query(images, torch.ones(len(images), dtype=torch.int64))
