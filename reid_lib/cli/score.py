"""`reid-lib score`: feature files of any re-ID model, ranked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from reid_lib.cli.data import check_output
from reid_lib.cli.features import read_arrays
from reid_lib.status import counted

K1 = 20  # neighbours that re-ranking looks at


@dataclass(frozen=True)
class Score:
    query: Positional[
        Annotated[
            Path,
            arg(
                metavar="QUERY",
                help="Features of queries: .npz or .safetensors with features, pid and, if cameras count, camid; as "
                "`features` and `vpfa apply` write them.",
            ),
        ]
    ]
    gallery: Positional[Annotated[Path, arg(metavar="GALLERY")]]
    """Features of the gallery, by the same model."""
    rerank: bool = False
    """Re-rank by k-reciprocal neighbours (Zhong et al., CVPR 2017; k1 20, k2 6, lambda 0.3)."""
    ranks: tuple[int, ...] = (1, 5, 10, 20)
    """The k of Rank-k."""
    seed: int = 0
    """Seed of the draws of identities for the interval."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="")] = None
    """A CSV for the numbers."""

    def run(self) -> int:
        from reid_lib.evaluation.scoring import score_features
        from reid_lib.files import write_text

        if self.output is not None:
            check_output(self.output)
        query, gallery = read_arrays(self.query), read_arrays(self.gallery)
        self._check(query, gallery)
        found = score_features(query, gallery, self.ranks, reranked=self.rerank, seed=self.seed)
        print(self._said(query, gallery, found))
        shown = found[["value", "low", "high"]].map("{:.1f}".format).reset_index()
        print(shown.to_string(index=False).replace("nan", "  -"))
        if self.output is not None:
            write_text(self.output, found.to_csv(lineterminator="\n"))
        return 0

    def _check(self, query: dict, gallery: dict) -> None:
        """Refuse what cannot be re-ranked, and what would rank an image against itself."""
        images = sum(count for arrays in (query, gallery) for count in arrays["features"].shape[:1])
        if self.rerank and images <= K1:
            raise ValueError(f"--rerank needs more than {K1} images in both files together: leave it out")
        if "camid" in query and "camid" in gallery:
            return  # the rule of cameras leaves an image's own copy out
        twice = set(query.get("path", [])) & set(gallery.get("path", []))
        if twice:
            raise ValueError(
                f"{len(twice)} images are query and gallery, the first is {min(twice)}: add an array 'camid' to both "
                "files, by which an image's own copy is left out, or leave these images out of one file"
            )

    def _said(self, query: dict, gallery: dict, found) -> str:
        cameras = "camid" in query and "camid" in gallery
        rule = "images of the query's person and camera left out" if cameras else "no camera ids: nothing left out"
        how = "re-ranked (k1 20, k2 6, lambda 0.3)" if self.rerank else "by cosine"
        ranked, asked = found.iloc[0], counted(len(query["features"]), "query has its", "queries have their")
        return (
            f"{self.query} against {self.gallery} ({counted(len(gallery['features']), 'image')}), {how}; {rule}\n"
            f"{int(ranked['queries'])} of {asked} person in the gallery; 95 % intervals over "
            f"{counted(int(ranked['identities']), 'identity', 'identities')}"
        )
