"""INTACT: its tables and figures, what it says in words, and numbers in its prose."""

from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import Cell, Claim, all_of, best, close, gains_more, greater, less, ordered, worst
from reid_lib.reporting.statements import FIVE_SETS, Published, Statement, exact, gains

PAPER = Paper("intact", "INTACT", "INTACT (CVPR 2020)", "12_intact")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.left_out("diagram", "Fig. 1", "Resolution mismatch between query and gallery"),
    PAPER.left_out("diagram", "Fig. 2", "Overview of INTACT and its three training steps"),
    PAPER.left_out(
        "diagram", "Fig. 3", "Architecture of the generator", "A drawing; the layers are in networks/intact.py."
    ),
    PAPER.table("Table 1", "Comparison with earlier methods on five data sets"),
    PAPER.table("Table 2", "Image quality against Rank-1: Sole SR, SR + ID, INTACT"),
    PAPER.figure("Fig. 4", "Recovered test images"),
    PAPER.table("Table 3", "Ablation of the loss terms"),
    PAPER.left_out(
        "diagram", "Fig. 5", "The association designs", "A drawing; Tables 4 and 5 compare the designs by numbers."
    ),
    PAPER.table("Table 4", "Common space, D-to-R and R-to-D association"),
    PAPER.table("Table 5", "With and without the bridge constraint"),
)

# a method under the paper's own other names: (artefact, method, setting) -> method
SAME_METHOD = {
    ("Table 3", "MSE+ID+GAN+Association", ""): "INTACT",
    ("Table 4", "R-to-D", ""): "INTACT",
    ("Table 5", "with bridge", ""): "INTACT",
}

_claim = partial(Claim, PAPER.key)
_states = partial(Statement, PAPER.key)
_exact = partial(exact, PAPER.key)


# --- what it says in words -----------------------------------------------------------------------


def _claims() -> tuple[Claim, ...]:
    intact, sole, sr_id = Cell("INTACT"), Cell("Sole SR"), Cell("SR + ID")
    steps = [Cell("MSE+ID"), Cell("MSE+ID+GAN"), Cell("MSE+ID+GAN+Association")]
    designs = [Cell("Common space"), Cell("D-to-R"), Cell("R-to-D")]
    return (
        _claim("Table 1", "Best Rank-1 of all compared methods", "4.4", best(intact)),
        _claim(
            "Table 2",
            "Super-resolution alone has the best SSIM and PSNR",
            "4.5 (1)",
            all_of(best(Cell("Sole SR", "", "ssim")), best(Cell("Sole SR", "", "psnr"))),
        ),
        _claim("Table 2", "... and the worst Rank-1", "4.5 (2)", worst(sole)),
        _claim(
            "Table 2",
            "What helps re-ID lowers fidelity: INTACT over SR + ID in Rank-1, under it in SSIM and PSNR",
            "4.5 (4)",
            all_of(
                greater(intact, sr_id),
                *(less(Cell("INTACT", "", metric), Cell("SR + ID", "", metric)) for metric in ("ssim", "psnr")),
            ),
        ),
        _claim("Table 3", "Each loss term adds: MSE+ID < +GAN < +Association", "4.6", ordered(*steps)),
        _claim(
            "Table 3",
            "The association loss adds more than the GAN loss",
            "4.6 (2), (3)",
            gains_more((steps[1], steps[2]), (steps[0], steps[1])),
        ),
        _claim("Table 4", "R-to-D is the best association", "4.6", best(designs[2])),
        _claim(
            "Table 4",
            "The designs perform fairly similarly (all within 2 points of Rank-1)",
            "4.6",
            all_of(
                close(designs[0], designs[1], 2), close(designs[1], designs[2], 2), close(designs[0], designs[2], 2)
            ),
        ),
        _claim("Table 5", "The bridge constraint helps", "4.6", greater(Cell("with bridge"), Cell("w/o bridge"))),
    )


CLAIMS = _claims()


# --- numbers in its prose ------------------------------------------------------------------------


def _over_any(cell: Published) -> float:
    older = ("SLD2L", "SING", "CSR-GAN")
    values = {name: cell.others("Table 1", name, "rank1", ()) for name in FIVE_SETS}
    return max(cell("Table 1", "INTACT", d) - v[m] for d, v in values.items() for m in older if m in v)


def _statements() -> tuple[Statement, ...]:
    return (
        _states(
            "4.4 (1)",
            "Rank-1 above CAD-Net by up to 6 points",
            "6",
            gains(max, "Table 1", FIVE_SETS, "INTACT", "CAD-Net"),
            5.5,
            6.5,
            "MLR-DukeMTMC-reID",
        ),
        _exact(
            "4.4 (2)",
            "Rank-1 above SLD2L, SING and CSR-GAN by up to",
            15.1,
            _over_any,
            "15.1 is the gain over CSR-GAN on MLR-CUHK03; the largest is over SLD2L on MLR-VIPeR",
        ),
    )


STATEMENTS = _statements()
