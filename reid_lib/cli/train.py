"""`reid-lib train`: one method, in one process or in several."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Annotated

from tyro.conf import Positional, arg

from reid_lib.cli.data import Assigned, OnDataSet, Seeds, assignments, data_options
from reid_lib.status import counted

AT_LEAST_ONE = ("epochs", "hidden", "k", "p", "steps", "width")  # settings


@dataclass(frozen=True, kw_only=True)
class Train(OnDataSet):
    method: Positional[Annotated[str, arg(metavar="METHOD")]]
    """baseline, lrar, ...: a method with a training loop; an unknown name lists them."""
    profile: str = "demo"
    """smoke, demo or paper (needs CUDA): the method's settings."""
    seeds: Seeds = (0,)
    """One training for each seed."""
    set: Assigned = ()
    """Settings other than the profile's (fields of the method's configuration), and recipe=paper."""

    def run(self) -> int:
        from reid_lib.devices import processes
        from reid_lib.session import profile_variable, start

        config, train = self._method()
        with profile_variable(self.profile):
            run = start(
                f"train {self.method}",
                profile=self.profile,
                dataset=self.dataset,
                data_root=self.data_root,
                data_options=data_options(self.layout, self.options),
                seeds=self.seeds,
            )
        folder = run.folder / "checkpoints"  # where a notebook of this profile and data set looks
        together = processes()
        count = counted(together.num_processes if together else 1, "process", "processes")
        for seed in run.seeds:
            train(config, run.dataset, seed=seed, folder=folder, device=run.device)
            if not together or together.is_main_process:
                print(f"{folder}: {self.method}, seed {seed}, {count} on {run.device.type}", flush=True)
        if together:
            together.destroy_process_group()
        return 0

    def _method(self) -> tuple[object, Callable]:
        """Return the method's configuration and its training."""
        from reid_lib.training.methods import METHODS
        from reid_lib.values import boolean

        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, found {self.method!r}")
        method = METHODS[self.method]
        changes, build = assignments(self.set), partial(method.config.for_profile, self.profile)
        if "recipe" in changes and "recipe" in signature(method.config.for_profile).parameters:
            build = partial(build, recipe=changes.pop("recipe"))
        usual = vars(build())
        for name, value in changes.items():
            if name not in usual:
                raise ValueError(f"{self.method} has no setting {name!r}, it has {', '.join(usual)}")
            if isinstance(usual[name], bool):
                changes[name] = boolean(value, name)
            elif isinstance(usual[name], float) and isinstance(value, int) and not isinstance(value, bool):
                changes[name] = float(value)  # 1 and 1.0 would be two configurations
            elif None not in (usual[name], value) and type(value) is not type(usual[name]):
                raise ValueError(f"{name} must be a value like {usual[name]!r}, found {value!r}")
            elif type(value) is int and value < (least := 1 if name in AT_LEAST_ONE else 0):
                raise ValueError(f"{name} must be at least {least}, found {value}")
        return build(**changes), method.train
