"""VPFA: its tables and figures, what it says in words, and numbers in its prose."""

from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import (
    GENUINE_LR,
    Cell,
    Claim,
    above,
    all_of,
    best,
    greater,
    ordered,
    settings_close,
)
from reid_lib.reporting.drawing import Arrow, Box, Drawing, Group
from reid_lib.reporting.statements import (
    CAVIAR,
    CUHK,
    MARKET,
    MSMT,
    VIPER,
    Compute,
    Published,
    Statement,
    exact,
    gain,
    least_gain,
    positive,
)

PAPER = Paper("vpfa", "VPFA", "VPFA (2025)", "15_vpfa")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.figure("Fig. 1", "The idea: as words have directions, so has resolution, sketched with three persons"),
    PAPER.text(
        "Section 1",
        "Cosine of the mean HR - LR difference between two halves (Table 1, not in the text we have)",
        notebook="22_resolution_directions",
        alias="Table 1",
    ),
    PAPER.table(
        "Table 2a",
        "Canonical correlation of LR and HR features against random ones",
        notebook="22_resolution_directions",
    ),
    PAPER.table(
        "Table 2b",
        "Pearson correlation of grouped differences with the global shift",
        notebook="22_resolution_directions",
    ),
    PAPER.figure("Fig. 2", "Overview of VPFA, drawn from the module itself"),
    PAPER.table("Table 3", "Comparison with earlier methods on four data sets"),
    PAPER.text("Section 5.4", "Throughput and number of parameters of the VP module"),
    PAPER.table("Table 4a", "With and without VPFA, with and without the residual connection"),
    PAPER.table("Table 4b", "Width and number of VP blocks"),
    PAPER.figure("Fig. 3", "t-SNE of HR and LR features before and after VPFA"),
    PAPER.table("Table 5", "Six rates (MLRpro) and MSMT17"),
    PAPER.table("Table 6", "Other modalities: visible-infrared and text-image"),
    PAPER.table("Table 7", "Distance of HR and LR centres before and after VPFA"),
    PAPER.figure("Fig. 4", "Ranked lists before and after VPFA"),
    PAPER.table("Table 8", "MLR-CUHK03 per split"),
    PAPER.table("Table 9", "MLR-VIPeR per split"),
    PAPER.table("Table 10", "CAVIAR per split"),
    PAPER.table("Table 11", "Module trained on one data set, tested on another"),
    PAPER.own(
        "table",
        "forms",
        "Forms and yardsticks",
        "The paper's and the released form of VPFA, its ablations, and simpler maps fitted on the same pairs",
    ),
    PAPER.own(
        "figure",
        "released",
        "Released formula",
        "The released CCA formula against the true correlation",
        "22_resolution_directions",
    ),
    PAPER.own(
        "figure",
        "rates",
        "Direction by rate",
        "Does r = 2 point where r = 4 points, and how far?",
        "22_resolution_directions",
    ),
    PAPER.own(
        "table",
        "transfer",
        "Direction transfer",
        "Cosine of the direction between rates, cameras, data sets and backbones",
        "22_resolution_directions",
    ),
    PAPER.own(
        "table", "field", "One field", "VPFA behind models trained alike, beside HR + LR: Rank-1 and paired gains"
    ),
)

# a method under the paper's own other names: (artefact, method, setting) -> method
SAME_METHOD = {
    ("Table 4a", "TransReID + VPFA", ""): "VPFA",
    ("Table 4a", "with residual", ""): "VPFA",
    ("Table 4b", "VPFA", "hidden=2048"): "VPFA",
    ("Table 4b", "VPFA", "blocks=3"): "VPFA",
    ("Table 5", "TransReID + VPFA", "MLR"): "VPFA",
    ("Table 5", "TransReID", "MLR"): "TransReID",
    ("Table 8", "VPFA", "average"): "VPFA",
    ("Table 9", "VPFA", "average"): "VPFA",
    ("Table 10", "VPFA", "average"): "VPFA",
    ("Table 11", "VPFA", "trained on MLR-CUHK03"): "VPFA",
    ("Table 11", "VPFA", "trained on MLR-Market-1501"): "VPFA",
}

_claim = partial(Claim, PAPER.key)
_states = partial(Statement, PAPER.key)
_exact = partial(exact, PAPER.key)
_positive = partial(positive, PAPER.key)


# --- its architecture ----------------------------------------------------------------------------

ARCHITECTURE = Drawing(
    lambda network, features: network(features),
    height=385,
    boxes=(
        Box("lr", (12, 85), "frozen model", "LR images, z_LR", "input", size=(122, 94), look="frozen"),
        *(
            Box(
                f"block {i}",
                (172 + 136 * (i - 1), 85),
                f"VP block {i}",
                "Linear, LN, ReLU",
                f"blocks.{i - 1}",
                f"blocks.{i - 1}",
                (122, 94),
            )
            for i in (1, 2, 3)
        ),
        Box("back", (580, 85), "Linear", "$W_4$", "back", "back", (122, 94)),
        Box("tanh", (722, 112), "tanh", size=(52, 40), look="step"),
        Box("add", (800, 112), "+", size=(40, 40), look="step"),
        Box("hr", (12, 230), "frozen model", "HR images, z_HR", "input", size=(122, 94), look="frozen"),
        Box("loss", (735, 248), "loss (Eq. 6)", "squared distance", size=(140, 58), look="game"),
    ),
    arrows=(
        Arrow("lr.right", "block 1.left"),
        Arrow("block 1.right", "block 2.left"),
        Arrow("block 2.right", "block 3.left"),
        Arrow("block 3.right", "back.left"),
        Arrow("back.right", "tanh.left"),
        Arrow("tanh.right", "add.left"),
        Arrow("lr.top", "add.top", "the input is added (Eq. 3)", (445, 17), ((73, 32), (820, 32))),
        Arrow("add.bottom", (820, 248), r"pseudo-HR $\hat z$", (762, 216)),
        Arrow("hr.right", "loss.left", "mean of each identity (Eq. 2)", (435, 263)),
    ),
    groups=(Group("VP module, trained: Eq. 4 (blocks) and Eq. 5 (Linear, tanh)", (158, 56), (626, 133)),),
    note="Dashed boxes are frozen: nothing but the VP module is trained, on pairs of features of one identity.",
)


# --- what it says in words -----------------------------------------------------------------------


def _claims() -> tuple[Claim, ...]:
    width = [Cell("VPFA", f"hidden={size}") for size in (512, 1048, 2048, 3840)]
    blocks = [Cell("VPFA", f"blocks={number}") for number in (1, 2, 3, 4)]
    metrics = ("rank1", "rank5", "rank10")
    cca = [(f"r={rate}", f"cca{i}") for rate in (2, 3, 4) for i in (1, 2, 3)]
    return (
        _claim(
            "Section 1",
            "The mean HR - LR shift has a stable direction (cosine above 0.8)",
            "1",
            above(Cell("mean shift", "", "cosine"), 0.8, among=("r=2", "r=3", "r=4")),
        ),
        _claim(
            "Table 2a",
            "LR and HR features correlate more than random ones do",
            "3.2",
            all_of(*(greater(Cell("cross-resolution", s, m), Cell("random", s, m)) for s, m in cca)),
        ),
        _claim(
            "Table 2b",
            "The correlation with the global shift grows with the resolution gap",
            "3.2",
            ordered(*(Cell("grouped Pearson", f"r={rate}", "pearson_mean") for rate in (2, 3, 4))),
        ),
        _claim(
            "Table 2b",
            "Differences correlate with the global shift above 0.5 (their mean r, at every rate)",
            "3.2",
            above(Cell("grouped Pearson", "", "pearson_mean"), 0.5, among=("r=2", "r=3", "r=4")),
        ),
        _claim(
            "Table 3",
            "Best Rank-1 of all compared methods",
            "5.3 (1)",
            best(Cell("VPFA")),
            yardsticks=("mean shift", "ridge"),
        ),
        _claim(
            "Table 4a",
            "VPFA improves the frozen backbone at Rank-1, Rank-5 and Rank-10",
            "5.5",
            all_of(*(greater(Cell("frozen model + VPFA", "", m), Cell("frozen model", "", m)) for m in metrics)),
        ),
        _claim(
            "Table 4a", "The residual connection is needed", "5.5", greater(Cell("with residual"), Cell("w/o residual"))
        ),
        _claim(
            "Table 4b",
            "Wider is better up to 2048, then worse",
            "5.5",
            all_of(ordered(*width[:3]), greater(width[2], width[3])),
        ),
        _claim(
            "Table 4b",
            "One to three blocks improve, a fourth costs",
            "5.5",
            all_of(ordered(*blocks[:3]), greater(blocks[2], blocks[3])),
        ),
        _claim(
            "Table 5",
            "VPFA helps under MLR and under MLRpro",
            "A.2",
            all_of(*(greater(Cell("frozen model + VPFA", s), Cell("frozen model", s)) for s in ("MLR", "MLRpro"))),
        ),
        _claim(
            "Table 6",
            "VPFA helps between visible and infrared images too, in both directions (mAP and Rank-1)",
            "A.3",
            all_of(
                *(
                    greater(Cell("frozen model + VPFA", way, metric), Cell("frozen model", way, metric))
                    for way in ("visible-to-infrared", "infrared-to-visible")
                    for metric in ("map", "rank1")
                )
            ),
        ),
        _claim(
            "Table 7",
            "HR and LR centres come closer for every identity",
            "A.4",
            # the paper prints five of them: one that goes apart decides, and for "every" the smallest must be there
            above(Cell("VPFA", "", "reduction_percent"), 0, among=("smallest of all",)),
        ),
        _claim(
            "Table 11",
            "A module does well on a set it was not trained on (Rank-1 within 4 points, wherever it was trained)",
            "A.7",
            settings_close("VPFA", "rank1", 4),
        ),
        _claim(
            "Table 11",
            "A module from MLR-CUHK03 considerably improves CAVIAR (more than 1 point of Rank-1)",
            "A.7",
            greater(Cell("VPFA", "trained on MLR-CUHK03"), Cell("frozen model"), by=1),
            GENUINE_LR,
        ),
    )


CLAIMS = _claims()


# --- numbers in its prose ------------------------------------------------------------------------


def _reduction(identity: int) -> Compute:
    def compute(cell: Published) -> float:
        before, after = (
            cell("Table 7", "VPFA", MARKET, f"distance_{when}", f"identity={identity}") for when in ("before", "after")
        )
        return 100 * (before - after) / before

    return compute


def _firsts(cell: Published) -> float:
    def alone(dataset: str, metric: str) -> bool:
        return cell("Table 3", "VPFA", dataset, metric) > cell.others("Table 3", dataset, metric, ("VPFA",)).max()

    return sum(alone(d, "rank5") and alone(d, "rank10") for d in (MARKET, CUHK, VIPER, CAVIAR))


def _off_25(cell: Published) -> float:
    """How far the shares of Table 2b are from counts of 25 groups, at most."""
    shares = cell.rows[cell.rows.metric == "percent_above_0.4"].value
    return max(abs(share - 4 * round(share / 4)) for share in shares)


def _further() -> tuple[Statement, ...]:
    printed = (
        ("5.3 (3)", "JBIM's Rank-1 on MLR-VIPeR", 49.7, "Table 3", "JBIM", VIPER, "rank1", ""),
        ("5.3 (3)", "PS-HRNet's Rank-1 on MLR-VIPeR", 48.7, "Table 3", "PS-HRNet", VIPER, "rank1", ""),
        ("5.3 (3)", "Rank-1 on CAVIAR", 66.6, "Table 3", "VPFA", CAVIAR, "rank1", ""),
        ("5.3 (3)", "Rank-5 on CAVIAR", 87.9, "Table 3", "VPFA", CAVIAR, "rank5", ""),
        ("5.5", "Rank-1 with a width of 2048", 94.1, "Table 4b", "VPFA", MARKET, "rank1", "hidden=2048"),
        (
            "A.7",
            "Rank-1 on MLR-CUHK03, trained on MLR-Market-1501",
            94.0,
            "Table 11",
            "VPFA",
            CUHK,
            "rank1",
            f"trained on {MARKET}",
        ),
        (
            "A.7",
            "Rank-1 on MLR-Market-1501, trained on MLR-CUHK03",
            90.5,
            "Table 11",
            "VPFA",
            MARKET,
            "rank1",
            f"trained on {CUHK}",
        ),
    )
    return (
        *(_exact(source, text, v, lambda cell, place=place: cell(*place)) for source, text, v, *place in printed),
        _states(
            "3.2",
            "Canonical correlations above 0.4 are moderate to strong: the lowest of LR and HR features",
            "> 0.4",
            lambda cell: cell.rows[(cell.rows.method == "cross-resolution")].value.min(),
            0.4,
            1,
            "R2 at r = 4; the text names the threshold and no value below it",
        ),
        _states(
            "3.2",
            "Most groups correlate above 0.5: the lowest mean r",
            "> 0.5",
            lambda cell: cell.rows[cell.rows.metric == "pearson_mean"].value.min(),
            0.5,
            1,
        ),
        _states(
            "3.2",
            "Shares of 25 groups: the distance of Table 2b's shares from a multiple of 4 %",
            "0",
            _off_25,
            0,
            0.01,
            "they are shares of 751 identities",
        ),
        _exact(
            "5.1",
            "Four synthetic data sets and CAVIAR: data sets of Table 3",
            5,
            lambda cell: cell.rows[cell.rows.artefact == "Table 3"].dataset.nunique(),
            "MLR-DukeMTMC is announced and has no numbers; the abstract has four",
        ),
        _states(
            "5.3 (4)",
            "Comparable to or better than LRAR and PS-HRNet: the smallest gain over all ranks (comparable: above -1)",
            "> -1",
            least_gain("Table 3", (MARKET, CUHK, VIPER, CAVIAR), "VPFA", ("LRAR", "PS-HRNet")),
            -1,
            100,
            "LRAR at Rank-10 on CAVIAR",
        ),
        _positive(
            "A.2",
            "VPFA consistently improves: the smallest gain of Table 5",
            lambda cell: min(
                gain("Table 5", d, "TransReID + VPFA", "TransReID", metric, setting)(cell)
                for d in (MARKET, MSMT)
                for metric in ("rank1", "rank5", "rank10")
                for setting in ("MLR", "MLRpro")
            ),
        ),
        _exact(
            "A.4",
            "Sample identities of Table 7",
            6,
            lambda cell: cell.rows[cell.rows.artefact == "Table 7"].setting.nunique(),
            "the caption says six",
        ),
        _positive(
            "A.7",
            "Considerable improvements on CAVIAR: rows of CAVIAR in Table 11",
            lambda cell: ((cell.rows.artefact == "Table 11") & (cell.rows.dataset == CAVIAR)).sum(),
        ),
    )


def _statements() -> tuple[Statement, ...]:
    over = ((MARKET, "PS-HRNet", 2.6, "(1)"), (CUHK, "PS-HRNet", 2.1, "(1)"))
    over += ((MARKET, "CSR-GAN", 17.7, "(2)"), (MARKET, "INTACT", 6.0, "(2)"))
    modal = (
        ("RegDB", "SAAI", "visible-to-infrared", "map", 0.68),
        ("RegDB", "SAAI", "infrared-to-visible", "map", 1.01),
        ("RegDB", "SAAI", "visible-to-infrared", "rank1", 0.29),
        ("RegDB", "SAAI", "infrared-to-visible", "rank1", 0.62),
        ("RSTPReid", "IRRA", "text-to-image", "map", 0.68),
        ("RSTPReid", "IRRA", "text-to-image", "rank1", 1.0),
        ("RSTPReid", "IRRA", "text-to-image", "rank5", 0.75),
    )
    reductions = ((1401, 22.92), (865, 27.46), (877, 26.35), (1355, 27.24), (507, 28.18))
    splits = ((CUHK, "Table 8", 94.7), (VIPER, "Table 9", 50.5), (CAVIAR, "Table 10", 66.6))
    return (
        *(_exact(f"5.3 {n}", f"Rank-1 above {m} on {d}", v, gain("Table 3", d, "VPFA", m)) for d, m, v, n in over),
        _states(
            "5.3 (1)",
            "First in Rank-5 and Rank-10 on three of the four data sets",
            "3",
            _firsts,
            3,
            3,
            "alone in front on two; on MLR-CUHK03 LRAR has the same Rank-10 (99.8)",
        ),
        _exact(
            "5.3 (3)",
            "Rank-1 on MLR-VIPeR",
            50.6,
            lambda cell: cell("Table 3", "VPFA", VIPER),
            "Tables 3 and 9 print 50.5",
        ),
        _exact(
            "5.3 (3)",
            "The best Rank-1 before it on CAVIAR",
            63.6,
            lambda cell: cell.others("Table 3", CAVIAR, "rank1", ("VPFA",)).max(),
        ),
        _exact(
            "5.3 (3)",
            "The best Rank-5 before it on CAVIAR",
            84.5,
            lambda cell: cell.others("Table 3", CAVIAR, "rank5", ("VPFA",)).max(),
            "IFRSW, in the same table",
        ),
        _exact(
            "5.5",
            "Rank-1 gained by VPFA on MLR-Market-1501",
            3.8,
            gain("Table 4a", MARKET, "TransReID + VPFA", "TransReID"),
        ),
        _states(
            "A.2",
            "Larger gains on MSMT17: its gain under MLR less that on Market-1501",
            "> 0",
            lambda cell: (
                gain("Table 5", MSMT, "TransReID + VPFA", "TransReID", setting="MLR")(cell)
                - gain("Table 5", MARKET, "TransReID + VPFA", "TransReID", setting="MLR")(cell)
            ),
            0.05,
            100,
            "under MLRpro it is 4.5 against 3.9, and so as the text says",
        ),
        *(
            _states(
                "A.3",
                f"{metric} gained by VPFA on {d}, {s}",
                f"{v:g}",
                gain("Table 6", d, f"{m} + VPFA", m, metric, s),
                v - 0.006,
                v + 0.006,
            )
            for d, m, s, metric, v in modal
        ),
        *(
            _states(
                "Table 7",
                f"Reduction of the distance for identity {i}, percent",
                f"{v:g}",
                _reduction(i),
                v - 0.06,
                v + 0.06,
                "from distances printed to 0.01",
            )
            for i, v in reductions
        ),
        _states(
            "A.4",
            "Distances are reduced by approximately 25 percent on average",
            "25",
            lambda cell: cell.rows[cell.rows.metric == "reduction_percent"].value.mean(),
            22.5,
            27.5,
        ),
        *(
            _exact(
                "5.3",
                f"Rank-1 of Table 3 on {d} is the average over ten splits",
                stated,
                lambda cell, d=d, table=table: cell(table, "VPFA", d, "rank1", "average"),
            )
            for d, table, stated in splits
        ),
        *_further(),
    )


STATEMENTS = _statements()
