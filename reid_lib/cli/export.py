"""`reid-lib export`: a method as an ONNX file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from reid_lib.cli.data import OnDataSet, Output, check_output, data_options
from reid_lib.cli.matchers import find_matcher, find_method

if TYPE_CHECKING:
    import torch

    from reid_lib.export import Part
    from reid_lib.session import Session

SAMPLES = 16  # images on which a file is checked


@dataclass(frozen=True, kw_only=True)
class Export(OnDataSet):
    model: Positional[
        Annotated[
            str,
            arg(
                metavar="MODEL",
                help='A method (baseline\'s "HR + LR", lrar, cadnet, intact, vpfa, ...) trained on --dataset under '
                "--profile, a file of OSNet x0.25 weights, or a file of `reid-lib vpfa fit` (its module alone: "
                "features in, features out).",
            ),
        ]
    ]
    output: Output
    """The .onnx file. A method of several networks writes one for each: model-level1.onnx, model-query.onnx, ..."""
    part: Annotated[str, arg(help_behavior_hint="")] = ""
    """Write this one alone: level1, ... (LRAR), query, gallery or G (INTACT, VPFA); without it all."""
    seed: int = 0
    """Seed of the training."""

    def run(self) -> int:
        from reid_lib import export

        if self.output.suffix != ".onnx":
            raise ValueError(f"the output must end in .onnx, found {self.output.name}")
        check_output(self.output)
        export.check_packages()
        found, samples = self._parts()
        export.check_part(self.part, found, self.model)
        for name, part in found.items():
            if self.part in ("", name):
                path = self.output.with_stem(f"{self.output.stem}-{name}") if name and not self.part else self.output
                cosine = export.export(part, samples, path)
                print(f"{path}: input {tuple(samples.shape[1:])}, least cosine with PyTorch {cosine:.6f}")
        return 0

    def _parts(self) -> "tuple[dict[str, Part], torch.Tensor]":
        """Return the networks by name, and what they are checked on."""
        import numpy as np
        import torch

        from reid_lib import export
        from reid_lib.datasets.resolution import degrade
        from reid_lib.seeds import torch_generator
        from reid_lib.session import profile_variable, start

        if export.is_panning(Path(self.model)):
            found = export.panning_parts(Path(self.model))
            width = next(iter(found.values())).metadata["width"]
            return found, torch.randn(SAMPLES, width, generator=torch_generator(0, "export"))
        with profile_variable(self.profile):
            options = data_options(self.layout, self.options)
            where = {"dataset": self.dataset, "data_root": self.data_root, "data_options": options}
            run = start("export", profile=self.profile, seeds=(self.seed,), **where)
        if ":" not in self.model and not Path(self.model).is_file():
            self._check_method(run)
        if run.device.type != "cpu":
            run = replace(run, device=torch.device("cpu"))
        matcher = find_matcher(self.model, run, self.seed)[1]
        paths = run.dataset.part("test")["path"][:SAMPLES]
        images = torch.from_numpy(np.stack([run.dataset.read(path) for path in paths])).permute(0, 3, 1, 2)
        rates = torch.arange(len(images)) % 4 + 1
        of = export.weight_file_parts if Path(self.model).is_file() else export.parts
        return of(matcher), degrade(images.contiguous(), rates)

    def _check_method(self, run: "Session") -> None:
        """Refuse, before it is trained, a method that cannot be exported, or a part that it will not have."""
        from reid_lib import export

        for name, one in find_method(self.model, run).items():
            export.check_part(self.part, export.part_names(name, one.config), name)
