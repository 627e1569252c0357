"""DRFM: its tables and figures, what it says in words, and numbers in its prose."""

from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import (
    Cell,
    Claim,
    all_of,
    best,
    best_setting,
    everywhere,
    greater,
    less,
    ordered,
    peak_inside,
    worst_setting,
)
from reid_lib.reporting.statements import CAVIAR, CUHK, MARKET, Statement, exact, gain

PAPER = Paper("drfm", "DRFM", "DRFM (MM 2024)", "14_drfm")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.figure("Fig. 1", "LR and super-resolved images with Grad-CAM explanations"),
    PAPER.left_out("table", "Table 1", "Notation", "A list of symbols, no numbers; the notebook uses them."),
    PAPER.left_out("diagram", "Fig. 2", "Overview of DRFM"),
    PAPER.left_out("diagram", "Fig. 3", "The cross-resolution feature fusion module"),
    PAPER.figure("Fig. 4", "Accuracy against lambda, the weight of L_ps"),
    PAPER.figure("Fig. 5", "Accuracy against t, the proportion of pseudo-labelled samples"),
    PAPER.table("Table 2", "Comparison with unsupervised and supervised methods"),
    PAPER.table("Table 3", "Ablation A1 to A8"),
    PAPER.figure("Fig. 6", "F-score of the pseudo-labels per epoch for A1 to A4"),
    PAPER.figure("Fig. 7", "Distances of positive pairs, same and cross resolution, A5 and A6"),
)

SAME_METHOD = {}  # it prints no method under two names

_claim = partial(Claim, PAPER.key)
_exact = partial(exact, PAPER.key)


# --- what it says in words -----------------------------------------------------------------------


def _claims() -> tuple[Claim, ...]:
    step = [Cell(f"A{i}") for i in range(9)]
    # none of Fig. 4's values is printed as a number: at least no L_ps at all, and a neighbour on both sides
    swept = ("lambda=0", "lambda=1", "lambda=1.5", "lambda=2")
    return (
        _claim(
            "Table 2",
            "Better than every unsupervised method at Rank-1, Rank-5 and Rank-10",
            "4.4",
            all_of(*(best(Cell("DRFM", "unsupervised", metric)) for metric in ("rank1", "rank5", "rank10"))),
        ),
        _claim(
            "Table 2",
            "Purification is the best of the existing unsupervised methods (Rank-1)",
            "4.4",
            best(Cell("Purification", "unsupervised"), but=("DRFM",)),
        ),
        _claim("Table 3", "Every step helps: A1 < A2 < A3 < A4 < A5 < A6", "4.5.1, 4.5.2", ordered(*step[1:7])),
        _claim(
            "Table 3",
            "L_cc beats L_sc: A7 over A2, A8 over A6",
            "4.5.3",
            all_of(greater(step[7], step[2]), greater(step[8], step[6])),
        ),
        _claim("Table 3", "L_ps helps and the full DRFM is best", "4.5.3", best(Cell("DRFM"))),
        _claim("Fig. 4", "lambda = 1.5 is best", "4.3.1", best_setting(Cell("DRFM", "lambda=1.5"), swept)),
        _claim("Fig. 4", "lambda = 0 is worst", "4.3.1", worst_setting(Cell("DRFM", "lambda=0"), swept)),
        _claim("Fig. 5", "t too large or too small does worse", "4.3.2", peak_inside("DRFM")),
        _claim(
            "Fig. 6",
            "CPG gives better pseudo-labels: the F-score of A3 is above that of A1 and A2 at every epoch",
            "4.5.1",
            all_of(everywhere("A3", "A1", "f_score"), everywhere("A3", "A2", "f_score")),
        ),
        _claim(
            "Fig. 7",
            "CRFF brings the two distance distributions closer than a plain FC layer (A6 under A5)",
            "4.5.2",
            less(Cell("A6", "", "distance_gap"), Cell("A5", "", "distance_gap")),
        ),
    )


CLAIMS = _claims()


# --- numbers in its prose ------------------------------------------------------------------------


def _statements() -> tuple[Statement, ...]:
    sets = (CAVIAR, CUHK, MARKET)
    return (
        *(
            _exact(
                "4.4",
                f"Rank-1 above Purification on {d}",
                v,
                gain("Table 2", d, "DRFM", "Purification", setting="unsupervised"),
            )
            for d, v in zip(sets, (1.2, 8.5, 6.8), strict=True)
        ),
        *(
            _exact(section, f"{a} above {b} in Rank-1 on {d}", v, gain("Table 3", d, a, b))
            for section, a, b, printed in (
                ("4.5.1", "A3", "A2", (1.1, 1.4, 2.2)),
                ("4.5.2", "A6", "A5", (0.5, 1.0, 1.1)),
            )
            for d, v in zip(sets, printed, strict=True)
        ),
    )


STATEMENTS = _statements()
