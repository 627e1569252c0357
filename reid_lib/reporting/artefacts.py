"""Every table and figure of the five papers: which notebook cell makes it, and which file it ends in.

Status is never typed here. It is read from what exists: the notebook, a cell with the artefact's tag, and, under
results/<profile>/<data set>/, rows with the artefact's name (tables) or a PNG (figures).
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reid_lib.reporting import results

NOTEBOOKS = (
    "00_start_here",
    "01_data_and_protocol",
    "02_metrics_and_baselines",
    "11_cadnet",
    "12_intact",
    "13_lrar",
    "14_drfm",
    "15_vpfa",
    "21_unseen_resolutions",
    "22_resolution_directions",
    "23_unified_comparison",
    "90_all_tables_and_figures",
)
PAPERS = {
    "cadnet": "CAD-Net (ICCV 2019)",
    "intact": "INTACT (CVPR 2020)",
    "lrar": "LRAR (TIP 2023)",
    "drfm": "DRFM (MM 2024)",
    "vpfa": "VPFA (2025)",
    "baselines": "Baselines of this project",
}
STATUSES = ("done", "planned", "missing", "not reproduced")


class ArtefactError(LookupError):
    """No artefact goes by that name; the message lists near ones."""


@dataclass(frozen=True)
class Artefact:
    """One table, figure or numbered result.

    Attributes:
        paper: key of PAPERS.
        name: as in `published.csv` and in the rows' `artefact` column ("Table II", "Fig. 3", "Section 5.4").
        kind: "table", "figure", "text" (a result in prose) or "diagram" (a drawing, nothing is measured).
        caption: what it shows, in our words.
        notebook: stem of the notebook that makes it; "" when it is not reproduced.
        tag: tag of the one cell that makes it ("table:lrar:II"); "" when it is not reproduced.
        reason: why it is not reproduced; "" otherwise.
        alias: another name that the paper uses for the same thing.
    """

    paper: str
    name: str
    kind: str
    caption: str
    notebook: str = ""
    tag: str = ""
    reason: str = ""
    alias: str = ""

    @property
    def title(self) -> str:
        """For people: "LRAR Table II"."""
        return f"{PAPERS[self.paper].split(' (')[0].split(' of ')[0]} {self.name}"

    @property
    def stem(self) -> str:
        """The figure's file name without suffix ("lrar_fig_4"): pass it to `figures.save`."""
        return "_".join(self.tag.split(":")[i] for i in (1, 0, 2)).replace("-", "_") if self.tag else ""

    @property
    def file(self) -> str:
        """Result file inside results/<profile>/<data set>/: the paper's CSV, or the figure's PNG."""
        if not self.tag:
            return ""
        return f"{self.stem}.png" if self.kind == "figure" else f"{self.paper}.csv"


def _table(paper: str, name: str, caption: str, notebook: str, kind: str = "table", alias: str = "") -> Artefact:
    number = name.split(" ", 1)[1]
    prefix = {"table": "table", "figure": "fig", "text": "text"}[kind]
    return Artefact(paper, name, kind, caption, notebook, f"{prefix}:{paper}:{number}", alias=alias)


def _figure(paper: str, name: str, caption: str, notebook: str) -> Artefact:
    return _table(paper, name, caption, notebook, kind="figure")


def _diagram(paper: str, name: str, caption: str, reason: str) -> Artefact:
    return Artefact(paper, name, "diagram", caption, reason=reason)


def _baseline(kind: str, tag: str, name: str, caption: str, notebook: str) -> Artefact:
    return _own("baselines", kind, tag, name, caption, notebook)


def _own(paper: str, kind: str, tag: str, name: str, caption: str, notebook: str) -> Artefact:
    """What this project adds to a paper's tables and figures."""
    prefix = "fig" if kind == "figure" else "table"
    return Artefact(paper, name, kind, caption, notebook, f"{prefix}:{paper}:{tag}")


_DRAWING = "A drawing of the method: the notebook explains it next to the library's source instead."

ARTEFACTS: tuple[Artefact, ...] = (
    # this project's own, notebooks 00-02
    _baseline("figure", "people", "People at r = 1, 2, 4, 8", "Pedestrians as they lose resolution", "00_start_here"),
    _baseline(
        "figure",
        "rank1-by-rate",
        "Rank-1 against r",
        "A plain re-ID model loses Rank-1 as its queries lose resolution",
        "00_start_here",
    ),
    _baseline(
        "table",
        "counts",
        "Counts",
        "Images, identities and cameras of the data set and of a trial",
        "01_data_and_protocol",
    ),
    _baseline(
        "figure",
        "kernels",
        "Kernel pictures",
        "One person down-sampled with each kernel",
        "01_data_and_protocol",
    ),
    _baseline(
        "table",
        "kernels",
        "Kernel sensitivity",
        "Rank-1 under each down-sampling kernel",
        "01_data_and_protocol",
    ),
    _baseline("figure", "cameras", "Cameras", "The same people under every camera", "01_data_and_protocol"),
    _baseline(
        "figure",
        "cmc",
        "CMC curves",
        "Cumulative match characteristic of the plain models",
        "02_metrics_and_baselines",
    ),
    _baseline(
        "table",
        "baselines",
        "Baselines",
        "HR only, HR + LR, one model per rate, and IDE + Verif",
        "02_metrics_and_baselines",
    ),
    _baseline(
        "figure",
        "baselines",
        "Baselines against r",
        "Rank-1 of the plain models against r",
        "02_metrics_and_baselines",
    ),
    # CAD-Net
    _diagram("cadnet", "Fig. 1", "Cross-resolution re-ID and the limits of super-resolution before it", _DRAWING),
    _diagram("cadnet", "Fig. 2", "Overview of CAD-Net: CRGAN and the cross-modal re-ID network", _DRAWING),
    _table("cadnet", "Table 1", "Comparison with earlier methods on five data sets", "11_cadnet"),
    _table(
        "cadnet",
        "Table 2",
        "Image quality and Rank-1 at seen rates (2, 3, 4) and at r = 8, unseen",
        "11_cadnet",
    ),
    _figure("cadnet", "Fig. 3", "Recovered HR images for r = 1, 2, 4, 8", "11_cadnet"),
    _table("cadnet", "Table 3", "Ablation of the losses", "11_cadnet"),
    _figure(
        "cadnet",
        "Fig. 4",
        "t-SNE of w = GAP(f) with and without L_adv^DF, by identity and by rate",
        "11_cadnet",
    ),
    _own("cadnet", "figure", "training", "Training", "Loss terms, verdicts and gradients, epoch by epoch", "11_cadnet"),
    # LRAR
    _diagram("lrar", "Fig. 1", "The idea: an HR representation holds the LR one and more", _DRAWING),
    _diagram("lrar", "Fig. 2", "Overview: varying-length representation and resolution-adaptive masks", _DRAWING),
    _diagram("lrar", "Fig. 3", "Zero padding lets images of all resolutions share one classifier", _DRAWING),
    _table("lrar", "Table I", "Comparison with earlier methods on three data sets", "13_lrar"),
    _table("lrar", "Table II", "Ablation of masks, varying length and progressive training", "13_lrar"),
    _table("lrar", "Table III", "Against one retrieval model per resolution", "13_lrar"),
    _table("lrar", "Table IV", "Ablation of the two losses", "13_lrar"),
    _figure("lrar", "Fig. 4", "Ranked gallery of one query at r = 1, 2, 3, 4", "13_lrar"),
    _table("lrar", "Table V", "Unseen rates 3 and 6 assigned to either neighbouring level", "13_lrar"),
    _figure("lrar", "Fig. 5", "t-SNE of the features, by identity and by rate", "13_lrar"),
    _own("lrar", "table", "length", "Length by rate", "Rank-1 at each rate with and without varying length", "13_lrar"),
    _own("lrar", "figure", "masks", "Masks", "The learned masks of each level after each stage", "13_lrar"),
    _own(
        "lrar",
        "table",
        "level",
        "Estimated level",
        "Rank-1 with each query's level estimated from its pixels, against the true one and fixed ones",
        "13_lrar",
    ),
    # INTACT
    _diagram("intact", "Fig. 1", "Resolution mismatch between query and gallery", _DRAWING),
    _diagram("intact", "Fig. 2", "Overview of INTACT and its three training steps", _DRAWING),
    _diagram(
        "intact",
        "Fig. 3",
        "Architecture of the generator",
        "A drawing; the layers are in networks/intact.py.",
    ),
    _table("intact", "Table 1", "Comparison with earlier methods on five data sets", "12_intact"),
    _table("intact", "Table 2", "Image quality against Rank-1: Sole SR, SR + ID, INTACT", "12_intact"),
    _figure("intact", "Fig. 4", "Recovered test images", "12_intact"),
    _table("intact", "Table 3", "Ablation of the loss terms", "12_intact"),
    _diagram(
        "intact",
        "Fig. 5",
        "The association designs",
        "A drawing; Tables 4 and 5 compare the designs by numbers.",
    ),
    _table("intact", "Table 4", "Common space, D-to-R and R-to-D association", "12_intact"),
    _table("intact", "Table 5", "With and without the bridge constraint", "12_intact"),
    # DRFM
    _figure("drfm", "Fig. 1", "LR and super-resolved images with Grad-CAM explanations", "14_drfm"),
    Artefact(
        "drfm",
        "Table 1",
        "table",
        "Notation",
        reason="A list of symbols, no numbers; the notebook uses them.",
    ),
    _diagram("drfm", "Fig. 2", "Overview of DRFM", _DRAWING),
    _diagram("drfm", "Fig. 3", "The cross-resolution feature fusion module", _DRAWING),
    _figure("drfm", "Fig. 4", "Accuracy against lambda, the weight of L_ps", "14_drfm"),
    _figure("drfm", "Fig. 5", "Accuracy against t, the proportion of pseudo-labelled samples", "14_drfm"),
    _table("drfm", "Table 2", "Comparison with unsupervised and supervised methods", "14_drfm"),
    _table("drfm", "Table 3", "Ablation A1 to A8", "14_drfm"),
    _figure("drfm", "Fig. 6", "F-score of the pseudo-labels per epoch for A1 to A4", "14_drfm"),
    _figure("drfm", "Fig. 7", "Distances of positive pairs, same and cross resolution, A5 and A6", "14_drfm"),
    # VPFA
    _diagram("vpfa", "Fig. 1", "Motivation: offsets of words and of resolutions", _DRAWING),
    _table(
        "vpfa",
        "Section 1",
        "Cosine of the mean HR - LR difference between two halves (Table 1, not in the text we have)",
        "22_resolution_directions",
        kind="text",
        alias="Table 1",
    ),
    _table(
        "vpfa",
        "Table 2a",
        "Canonical correlation of LR and HR features against random ones",
        "22_resolution_directions",
    ),
    _table(
        "vpfa",
        "Table 2b",
        "Pearson correlation of grouped differences with the global shift",
        "22_resolution_directions",
    ),
    _diagram("vpfa", "Fig. 2", "Overview of VPFA", _DRAWING),
    _table("vpfa", "Table 3", "Comparison with earlier methods on four data sets", "15_vpfa"),
    _table("vpfa", "Section 5.4", "Throughput and number of parameters of the VP module", "15_vpfa", kind="text"),
    _table("vpfa", "Table 4a", "With and without VPFA, with and without the residual connection", "15_vpfa"),
    _table("vpfa", "Table 4b", "Width and number of VP blocks", "15_vpfa"),
    _figure("vpfa", "Fig. 3", "t-SNE of HR and LR features before and after VPFA", "15_vpfa"),
    _table("vpfa", "Table 5", "Six rates (MLRpro) and MSMT17", "15_vpfa"),
    _table("vpfa", "Table 6", "Other modalities: visible-infrared and text-image", "15_vpfa"),
    _table("vpfa", "Table 7", "Distance of HR and LR centres before and after VPFA", "15_vpfa"),
    _figure("vpfa", "Fig. 4", "Ranked lists before and after VPFA", "15_vpfa"),
    _table("vpfa", "Table 8", "MLR-CUHK03 per split", "15_vpfa"),
    _table("vpfa", "Table 9", "MLR-VIPeR per split", "15_vpfa"),
    _table("vpfa", "Table 10", "CAVIAR per split", "15_vpfa"),
    _table("vpfa", "Table 11", "Module trained on one data set, tested on another", "15_vpfa"),
    _own(
        "vpfa",
        "table",
        "forms",
        "Forms and yardsticks",
        "The paper's and the released form of VPFA, its ablations, and simpler maps fitted on the same pairs",
        "15_vpfa",
    ),
    _own(
        "vpfa",
        "figure",
        "released",
        "Released formula",
        "The released CCA formula against the true correlation",
        "22_resolution_directions",
    ),
    _own(
        "vpfa",
        "figure",
        "rates",
        "Direction by rate",
        "Does r = 2 point where r = 4 points, and how far?",
        "22_resolution_directions",
    ),
    _own(
        "vpfa",
        "table",
        "transfer",
        "Direction transfer",
        "Cosine of the direction between rates, cameras, data sets and backbones",
        "22_resolution_directions",
    ),
)


# --- look up --------------------------------------------------------------------------------------


def find(text: str) -> Artefact:
    """The artefact that a person means: "LRAR Table II", "lrar table 2", "CAD-Net Figure 3", or a cell tag.

    Raises ArtefactError with the nearest names when nothing, or more than one thing, fits.
    """
    wanted = _normal(text)
    names = {_normal(name): artefact for artefact in ARTEFACTS for name in _names(artefact)}
    if wanted in names:
        return names[wanted]
    near = difflib.get_close_matches(wanted, names, n=5, cutoff=0.6)
    titles = list(dict.fromkeys(names[name].title for name in near)) or ["CAD-Net Table 1", "LRAR Table II"]
    raise ArtefactError(f"No table or figure is called {text!r}. Did you mean: {', '.join(titles)}?")


def _names(artefact: Artefact) -> Iterable[str]:
    yield artefact.title
    yield f"{artefact.paper} {artefact.name}"
    if artefact.alias:
        yield f"{artefact.paper} {artefact.alias}"
    if artefact.tag:
        yield artefact.tag


def _normal(text: str) -> str:
    """Lower case; "Figure 3" and "Fig. 3", "II" and "2", "CAD-Net" and "cadnet" become the same."""
    text = re.sub(r"\bfig(?:ure)?\b\.?", "fig", text.lower().strip())
    text = text.replace("cad-net", "cadnet").replace("§", "section ")
    text = re.sub(r"\b(table|fig|section)\s*(?=[\divx])", r"\1 ", text)
    roman = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5"}
    return " ".join(roman.get(word, word) for word in text.split())


# --- status ---------------------------------------------------------------------------------------


def notebooks_folder() -> Path:
    """`notebooks` beside the package's pyproject.toml, else ./notebooks."""
    return (results.project_root() or Path()) / "notebooks"


def status(artefact: Artefact, notebooks: Path | None = None, root: Path | None = None) -> str:
    """One of STATUSES: "planned" without a notebook yet, "missing" when that lacks the tagged cell or left no result.

    `root` is the results folder. Raises ArtefactError when the notebook's file is not one.
    """
    if not artefact.tag:
        return "not reproduced"
    path = (notebooks or notebooks_folder()) / f"{artefact.notebook}.ipynb"
    if not path.is_file():
        return "planned"
    return "done" if artefact.tag in tags(path) and files(artefact, root) else "missing"


def files(artefact: Artefact, root: Path | None = None) -> list[Path]:
    """The result files of one artefact in every profile and data set; a CSV counts when it has its rows."""
    if not artefact.file:
        return []
    found = sorted((root or results.results_root()).glob(f"*/*/{artefact.file}"))
    return [p for p in found if artefact.kind == "figure" or artefact.name in _artefacts_in(p, p.stat().st_mtime_ns)]


def problems(notebooks: Path | None = None, root: Path | None = None) -> list[str]:
    """One sentence for each entry that resolves to nothing, and for each tagged cell that no entry names."""
    notebooks = notebooks or notebooks_folder()
    said = []
    for artefact in ARTEFACTS:
        if artefact.tag and artefact.notebook not in NOTEBOOKS:
            said.append(f"{artefact.title}: {artefact.notebook!r} is not in the list of notebooks.")
        if status(artefact, notebooks, root) != "missing":
            continue
        if artefact.tag not in tags(notebooks / f"{artefact.notebook}.ipynb"):
            said.append(f"{artefact.title}: {artefact.notebook}.ipynb has no cell tagged {artefact.tag!r}.")
        else:
            said.append(f"{artefact.title}: no results/<profile>/<data set>/{artefact.file} holds it; run it.")
    known = {(artefact.notebook, artefact.tag) for artefact in ARTEFACTS}
    for path in sorted(notebooks.glob("*.ipynb")):
        for tag in sorted(tags(path)):
            if tag.startswith(("table:", "fig:", "text:")) and (path.stem, tag) not in known:
                said.append(f"{path.name}: the tag {tag!r} has no entry for this notebook in artefacts.py.")
    return said


def tags(notebook: Path) -> set[str]:
    """All cell tags of a notebook. Raises ArtefactError when the file is not a notebook."""
    return set(_tags(notebook, notebook.stat().st_mtime_ns))


@cache
def _tags(notebook: Path, changed: int) -> frozenset[str]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return frozenset(tag for cell in cells for tag in cell.get("metadata", {}).get("tags", ()))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{notebook} is not a Jupyter notebook ({error}): restore it from git.") from error


@cache
def _artefacts_in(path: Path, changed: int) -> frozenset[str]:
    return frozenset(results.read_csv(path, results.COLUMNS).artefact)
