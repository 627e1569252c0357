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
    later,
    less,
    ordered,
    peak_inside,
    worst_setting,
)
from reid_lib.reporting.drawing import Arrow, Box, Drawing, Group
from reid_lib.reporting.statements import CAVIAR, CUHK, MARKET, Statement, exact, gain, least_gain, positive

PAPER = Paper("drfm", "DRFM", "DRFM (MM 2024)", "14_drfm")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.figure("Fig. 1", "LR and super-resolved images with Grad-CAM explanations"),
    PAPER.symbols("Table 1", "Notation", notebook="90_all_tables_and_figures"),
    PAPER.figure("Fig. 2", "Overview of DRFM, drawn from the network itself"),
    PAPER.figure("Fig. 3", "The cross-resolution feature fusion module, drawn from the network itself"),
    PAPER.figure("Fig. 4", "Accuracy against lambda, the weight of L_ps"),
    PAPER.figure("Fig. 5", "Accuracy against t, the proportion of pseudo-labelled samples"),
    PAPER.table("Table 2", "Comparison with unsupervised and supervised methods"),
    PAPER.table("Table 3", "Ablation A1 to A8"),
    PAPER.figure("Fig. 6", "F-score of the pseudo-labels per epoch for A1 to A4"),
    PAPER.figure("Fig. 7", "Distances of positive pairs, same and cross resolution, A5 and A6"),
    PAPER.own(
        "table", "field", "One field", "DRFM, cluster contrast and HR + LR trained alike: Rank-1 and paired gains"
    ),
    PAPER.own("figure", "clusters", "Clusters", "One person's cluster in the first, a middle and the last epoch"),
    PAPER.own("figure", "map", "Map", "The fusion features in two dimensions, by pseudo-label and by identity"),
    PAPER.own("figure", "training", "Training", "Losses and pseudo-labels, epoch by epoch"),
    PAPER.own(
        "table",
        "sr",
        "Super-resolution",
        "What makes the SHR images: bicubic, a trained generator, a published checkpoint",
    ),
    PAPER.own(
        "table", "gain", "Fusion gain", "How much Eq. 10 really weighs: the largest and the mean weight of a feature"
    ),
)

SAME_METHOD = {}  # it prints no method under two names

_claim = partial(Claim, PAPER.key)
_exact = partial(exact, PAPER.key)
_positive = partial(positive, PAPER.key)


# --- its architecture ----------------------------------------------------------------------------


def _run(network, images) -> None:
    features = network(images, images)
    network.Pred(features.hh)


def _memory(space: str, features: str, equation: str, y: float) -> Box:
    return Box(space, (655, y), f"memory $M_{{{space}}}$", f"{features} ({equation})", size=(122, 50), look="frozen")


def _cpg() -> tuple[tuple[Box, ...], tuple[Arrow, ...], Group]:
    """The steps from features to pseudo-labels, in one row."""
    steps = (
        ("DBSCAN", "clusters of $f^h$"),
        ("centroids", "$c^h$ (Eq. 7), $c^{sl}$ (Eq. 5)"),
        ("class vectors", "$s^{sh}$ (Eq. 6), $s^l$ (Eq. 4)"),
        ("fused", "$s^{lsh}$ (Eq. 8)"),
        ("pseudo-labels", "LR: the top $T$ (Eq. 9)"),
    )
    boxes = tuple(
        Box(f"step {i}", (20 + 176 * i, 534), *words, size=(156, 46), look="step") for i, words in enumerate(steps)
    )
    arrows = tuple(Arrow(f"step {i}.right", f"step {i + 1}.left") for i in range(len(steps) - 1))
    title = "CPG: pseudo-labels of an epoch, from the features of all training images"
    return boxes, arrows, Group(title, (8, 508), (884, 84))


def _overview() -> Drawing:
    steps, between, frame = _cpg()
    boxes = (
        Box("x^h", (4, 225), "$x^h$", "HR image", "input", size=(92, 76), look="plain"),
        Box("x^l", (110, 225), "$x^l$", "LR, resized", "input", size=(92, 76), look="plain"),
        Box("SR", (116, 88), "SR", "factor 4", size=(86, 44), look="step"),
        Box("DS", (7, 440), "DS", "factor 4", size=(92, 44), look="step"),
        Box("E_h", (252, 40), "$E_h$: HR encoder", "backbone, BN neck", "E_h", "E_h", (156, 94)),
        Box("E_l", (252, 392), "$E_l$: LR encoder", "backbone, BN neck", "E_l", "E_l", (156, 94)),
        Box("Pred", (252, 174), "Pred: predictor", "one linear layer", "Pred", "Pred", (156, 94)),
        Box("L_ic", (252, 300), "$L_{ic}$", "cosine of both (Eq. 18)", size=(156, 46), look="game"),
        Box("CRFF", (468, 216), "CRFF: fusion", "Eq. 10-13", "fusion", "fusion", (142, 94)),
        _memory("hh", "$f^h$, $f^{sh}$", "Eq. 1", 62),
        _memory("fu", "$f^{hsl}$, $f^{lsh}$", "Eq. 3", 238),
        _memory("ll", "$f^{sl}$, $f^l$", "Eq. 2", 414),
        Box("L_ps", (637, 336), "$L_{ps}$", "ambiguous LR (Eq. 19)", size=(158, 46), look="game"),
        Box("L_cc", (806, 62), "$L_{cc}$", "Eq. 16, 17\nin every\nspace", size=(86, 402), look="game"),
    )
    arrows = (
        Arrow("x^h.top", "E_h.left:0.25", "$x^h$", (150, 54), ((50, 63.5),)),
        Arrow("x^l.top", "SR.bottom:0.465"),
        Arrow("SR.right", "E_h.left:0.745", "$x^{sh}$", (226, 99)),
        Arrow("x^h.bottom", "DS.top:0.467"),
        Arrow("DS.right", "E_l.left:0.745", "$x^{sl}$", (176, 451)),
        Arrow("x^l.bottom", "E_l.left:0.25", "$x^l$", (204, 405), ((156, 415.5),)),
        Arrow("E_h.bottom", "Pred.top", "$f^{sh}$", (346, 154)),
        Arrow("Pred.bottom", "L_ic.top"),
        Arrow("E_l.top", "L_ic.bottom", "$f^l$, stop-gradient", (386, 369)),
        Arrow("E_h.right", "hh.left", "$f^h$, $f^{sh}$", (540, 76)),
        Arrow("E_l.right", "ll.left", "$f^{sl}$, $f^l$", (540, 428)),
        Arrow((446, 87), "CRFF.left:0.3", via=((446, 244.2),)),
        Arrow((446, 439), "CRFF.left:0.7", via=((446, 281.8),)),
        Arrow("CRFF.right", "fu.left"),
        Arrow("CRFF.bottom", "L_ps.left", "$f^{lsh}$", (590, 348), ((539, 359),)),
        Arrow("fu.bottom", "L_ps.top", "$C_{hsl}$", (738, 312)),
        Arrow("hh.right", "L_cc.left:0.0622"),
        Arrow("fu.right", "L_cc.left:0.5"),
        Arrow("ll.right", "L_cc.left:0.9378"),
        Arrow("step 4.top:0.8013", "L_cc.bottom"),
    )
    note = (
        r"Blue: trained, by $L_{cc} + L_{ic} + \lambda L_{ps}$ (Eq. 20, orange). Grey: memories, without a gradient. "
        "SR: super-resolution, DS: down-sampling."
    )
    return Drawing(_run, 652, (*boxes, *steps), (*arrows, *between), (frame,), note)


ARCHITECTURE = _overview()


def _enhanced(name: str, y: float, equation: str, feature: str) -> Box:
    formula = rf"${feature} + {feature} \odot \tilde{{f}}\;{{}}^{{lsh}}$"
    return Box(name, (492, y), f"enhanced ({equation})", formula, size=(156, 54), look="step")


FUSION = Drawing(
    _run,
    height=390,
    boxes=(
        Box("f^sh", (8, 51), "$f^{sh}$", "from $E_h$", "E_h", size=(80, 76), look="plain"),
        Box("f^l", (8, 221), "$f^l$", "from $E_l$", "E_l", size=(80, 76), look="plain"),
        Box("F1", (128, 42), "$F_1$", "linear", "fusion.F1", "fusion.F1", (136, 94)),
        Box("F2", (128, 212), "$F_2$", "linear", "fusion.F2", "fusion.F2", (136, 94)),
        Box("weight", (304, 147), "similarity (Eq. 10)", "product, softmax", size=(150, 54), look="step"),
        _enhanced("sh", 62, "Eq. 11", "f^{sh}"),
        _enhanced("l", 232, "Eq. 12", "f^l"),
        Box("Cat", (664, 151), "Cat", size=(56, 46), look="step"),
        Box("F3", (752, 127), "$F_3$ (Eq. 13)", "linear", "fusion.F3", "fusion.F3", (136, 94)),
    ),
    arrows=(
        Arrow("f^sh.right", "F1.left"),
        Arrow("f^l.right", "F2.left"),
        Arrow("f^sh.top", "sh.top", "$f^{sh}$", (310, 12), ((48, 22), (570, 22))),
        Arrow("f^l.bottom", "l.bottom", "$f^l$", (310, 314), ((48, 326), (570, 326))),
        Arrow("F1.right", "weight.top", via=((379, 89),)),
        Arrow("F2.right", "weight.bottom", via=((379, 259),)),
        Arrow("weight.right", "sh.bottom", r"$\tilde{f}\;{}^{lsh}$", (512, 162), ((570, 174),)),
        Arrow((570, 174), "l.top"),
        Arrow("sh.right", "Cat.top", via=((692, 89),)),
        Arrow("l.right", "Cat.bottom", via=((692, 259),)),
        Arrow("Cat.right", "F3.left"),
        Arrow("F3.bottom", (820, 260), "$f^{lsh}$", (820, 274)),
    ),
    note="For an LR image. An HR image goes the same way: $f^h$ for $f^{sh}$, $f^{sl}$ for $f^l$, "
    "and $f^{hsl}$ for $f^{lsh}$.",
)


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
        _claim(
            "Table 2",
            "Better than CC (cluster contrast), its nearest peer here, at Rank-1",
            "4.4",
            greater(Cell("DRFM", "unsupervised"), Cell("CC", "unsupervised")),
        ),
        _claim("Table 3", "Every step helps: A1 < A2 < A3 < A4 < A5 < A6", "4.5.1, 4.5.2", ordered(*step[1:7])),
        _claim(
            "Table 3",
            "L_cc beats L_sc: A7 over A2, A8 over A6",
            "4.5.3",
            all_of(greater(step[7], step[2]), greater(step[8], step[6])),
        ),
        _claim("Table 3", "Super-resolution before clustering helps: A2 over A1", "4.5.1", greater(step[2], step[1])),
        _claim("Table 3", "L_ps improves on A8", "4.5.3", greater(Cell("DRFM"), step[8])),
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
            "Fig. 6",
            "L_ic gives better pseudo-labels in the later stages: F-score of A4 above A3 (later half of epochs)",
            "4.5.1",
            later("A4", "A3", "f_score"),
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


_UNSUPERVISED = ("SpCL", "ICE", "CC", "PPLR", "Purification", "DCCC")


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
        _exact(
            "4.4",
            "Unsupervised methods that are reproduced",
            6,
            lambda cell: cell.rows[
                (cell.rows.setting == "unsupervised") & (cell.rows.method != "DRFM")
            ].method.nunique(),
        ),
        _positive(
            "4.4",
            "Above all unsupervised methods: the smallest gain over all ranks",
            least_gain("Table 2", sets, "DRFM", _UNSUPERVISED, setting="unsupervised"),
        ),
        *(
            _positive(
                section,
                f"{a} above {b} on all sets: the smallest gain at Rank-1 and Rank-5",
                least_gain("Table 3", sets, a, (b,), ("rank1", "rank5")),
            )
            for section, a, b in (
                ("4.5.1", "A2", "A1"),
                ("4.5.1", "A4", "A3"),
                ("4.5.2", "A5", "A4"),
                ("4.5.3", "A7", "A2"),
                ("4.5.3", "A8", "A6"),
                ("4.5.3", "DRFM", "A8"),
            )
        ),
    )


STATEMENTS = _statements()
