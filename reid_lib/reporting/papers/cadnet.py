"""CAD-Net: its tables and figures, what it says in words, and numbers in its prose."""

from collections.abc import Callable
from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import GENUINE_LR, Cell, Claim, all_of, best, costs_most, greater, less
from reid_lib.reporting.drawing import Arrow, Box, Drawing
from reid_lib.reporting.statements import (
    CUHK,
    FIVE_SETS,
    Compute,
    Published,
    Statement,
    exact,
    gain,
    least_gain,
    positive,
)

PAPER = Paper("cadnet", "CAD-Net", "CAD-Net (ICCV 2019)", "11_cadnet")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.figure("Fig. 1", "The idea: one model for all rates in place of one for each, drawn from one person"),
    PAPER.figure("Fig. 2", "Overview of CAD-Net, drawn from the network itself"),
    PAPER.table("Table 1", "Comparison with earlier methods on five data sets"),
    PAPER.table("Table 2", "Image quality and Rank-1 at seen rates (2, 3, 4) and at r = 8, unseen"),
    PAPER.figure("Fig. 3", "Recovered HR images for r = 1, 2, 4, 8"),
    PAPER.table("Table 3", "Ablation of the losses"),
    PAPER.figure("Fig. 4", "t-SNE of w = GAP(f) with and without L_adv^DF, by identity and by rate"),
    PAPER.own("figure", "training", "Training", "Loss terms, verdicts and gradients, epoch by epoch"),
    PAPER.own(
        "table", "field", "One field", "CAD-Net, E and C alone and HR + LR trained alike: Rank-1 and paired gains"
    ),
)

# a method under the paper's own other names: (artefact, method, setting) -> method
SAME_METHOD = {("Table 2", "CAD-Net", "seen r in {2,3,4}"): "CAD-Net"}

_claim = partial(Claim, PAPER.key)
_states = partial(Statement, PAPER.key)
_exact = partial(exact, PAPER.key)
_positive = partial(positive, PAPER.key)


# --- its architecture ----------------------------------------------------------------------------


def _run(network, images) -> None:
    maps = network.E.stages(images)
    recovered = network.G(maps)
    network.C(network.joint_feature(maps[-1], recovered))
    network.D_F(maps[-1])
    network.D_I.verdict(network.D_I.backbone(recovered))


ARCHITECTURE = Drawing(
    _run,
    height=560,
    boxes=(
        Box("x", (15, 181), "image x", "HR or LR", "input", size=(105, 94), look="plain"),
        Box("E", (160, 181), "E: encoder", "residual network, map f", "E.layer4", "E", size=(165, 94)),
        Box("G", (405, 181), "G: decoder", "up-sampling, image G(f)", "G.to_image", "G", size=(165, 94)),
        Box("F", (710, 181), "F: HR encoder", "residual network, map g", "F.layer4", "F", size=(165, 94)),
        Box("D_F", (160, 15), "D_F: is f of HR?", "5 convolutions", "D_F", "D_F", size=(165, 94), look="game"),
        Box(
            "D_I", (710, 15), "D_I: true HR image?", "ResNet-18 form, 1 logit", "D_I.verdict", "D_I", (165, 94), "game"
        ),
        Box("u", (405, 310), "u = GAP([f, g])", "matched by distance", look="step", size=(165, 46)),
        Box("C", (405, 405), "C: identities", "linear", "C", "C", size=(165, 94)),
    ),
    arrows=(
        Arrow("x.right", "E.left"),
        Arrow("E.right", "G.left", "f", (365, 218)),
        Arrow("E.top:0.4", "D_F.bottom:0.4", r"$L_{adv}^{DF}$ (Eq. 1)", (175, 144)),
        Arrow("E.top:0.8", "G.top", "skips: the stem's and three stages' maps", (405, 128), ((292, 142), (487.5, 142))),
        Arrow("G.right", "F.left", r"$L_{rec}$ (Eq. 2)", (640, 245)),
        Arrow((640, 228), "D_I.left", r"$L_{adv}^{DI}$ (Eq. 3)", (640, 48), ((640, 62),)),
        Arrow("E.bottom", "u.left", "f", (323, 319), ((242.5, 333),)),
        Arrow("F.bottom", "u.right", "g", (681, 319), ((792.5, 333),)),
        Arrow("u.bottom", "C.top", r"$L_{tri}$ of u (Eq. 5), $L_{id}$ of C(u) (Eq. 4)", (618, 381)),
    ),
    note="Orange: trained against E and G. "
    r"Eq. 6: $L = L_{id} + L_{tri} + \lambda L_{adv}^{DF} + \lambda L_{rec} + \lambda L_{adv}^{DI}$",
)


# --- what it says in words -----------------------------------------------------------------------


def _claims() -> tuple[Claim, ...]:
    full, f_only, g_only = (Cell(name) for name in ("CAD-Net", "CAD-Net (f only)", "CAD-Net (g only)"))
    seen, unseen = "seen r in {2,3,4}", "unseen r=8"
    no_di, no_df, no_rec, no_cls = (Cell(f"w/o {loss}") for loss in ("L_adv^DI", "L_adv^DF", "L_rec", "L_cls"))
    return (
        _claim("Table 1", "Best Rank-1 of all compared methods", "4.4", best(full, but=(f_only.method, g_only.method))),
        _claim(
            "Table 1",
            "The joint representation [f, g] beats f alone and g alone",
            "4.4",
            all_of(greater(full, f_only), greater(full, g_only)),
        ),
        _claim(
            "Table 1",
            "f only beats g only where low resolution is genuine (CAVIAR)",
            "4.4",
            greater(f_only, g_only),
            GENUINE_LR,
        ),
        _claim(
            "Table 2",
            "At seen rates: best Rank-1 and LPIPS, though CSR-GAN has the higher SSIM and PSNR",
            "4.5",
            all_of(
                best(Cell("CAD-Net", seen)),
                best(Cell("CAD-Net", seen, "lpips"), lowest=True),
                greater(Cell("CSR-GAN", seen, "ssim"), Cell("CAD-Net", seen, "ssim")),
                greater(Cell("CSR-GAN", seen, "psnr"), Cell("CAD-Net", seen, "psnr")),
            ),
        ),
        _claim(
            "Table 2",
            "At r = 8, unseen: best SSIM, PSNR, LPIPS and Rank-1",
            "4.5",
            all_of(
                *(best(Cell("CAD-Net", unseen, m), lowest=m == "lpips") for m in ("ssim", "psnr", "lpips", "rank1"))
            ),
        ),
        _claim("Table 3", "Removing any loss lowers Rank-1", "4.6", best(full)),
        _claim("Table 3", "Removing L_cls costs the most Rank-1", "4.6", costs_most(no_cls, (no_di, no_df, no_rec))),
        _claim(
            "Table 3",
            "L_adv^DF, L_rec and L_cls are crucial, L_adv^DI only helps: it costs the least",
            "4.6",
            all_of(*(greater(no_di, other) for other in (no_df, no_rec, no_cls))),
        ),
        _claim(
            "Table 3",
            "Without L_cls images are still recovered (SSIM above that without L_adv^DF or L_rec)",
            "4.6",
            all_of(*(greater(Cell(no_cls.method, "", "ssim"), Cell(o.method, "", "ssim")) for o in (no_df, no_rec))),
        ),
        _claim(
            "Table 3",
            "Each of L_adv^DI, L_adv^DF and L_rec improves the recovered images (SSIM and PSNR)",
            "4.6",
            all_of(
                *(
                    greater(Cell("CAD-Net", "", metric), Cell(other.method, "", metric))
                    for other in (no_di, no_df, no_rec)
                    for metric in ("ssim", "psnr")
                )
            ),
        ),
        _claim(
            "Fig. 4",
            "L_adv^DF separates the identities better in w = GAP(f) (silhouette by identity)",
            "4.7",
            greater(
                Cell("with L_adv^DF", "", "silhouette_identity"), Cell("without L_adv^DF", "", "silhouette_identity")
            ),
        ),
        _claim(
            "Fig. 4",
            "L_adv^DF makes w resolution-invariant (an image's rate is told from w less often)",
            "4.7",
            less(Cell("with L_adv^DF", "", "rate_accuracy"), Cell("without L_adv^DF", "", "rate_accuracy")),
        ),
    )


CLAIMS = _claims()


# --- numbers in its prose ------------------------------------------------------------------------


def _over_best(pick: Callable, but: tuple[str, ...]) -> Compute:
    def compute(cell: Published) -> float:
        best = {name: cell.others("Table 1", name, "rank1", but).max() for name in FIVE_SETS}
        return pick(cell("Table 1", "CAD-Net", name) - best[name] for name in FIVE_SETS)

    return compute


def _lead(cell: Published, setting: str) -> float:
    """CAD-Net's Rank-1 of Table 2 above that of its best competitor."""
    others = (cell("Table 2", name, CUHK, "rank1", setting) for name in ("CycleGAN", "SING", "CSR-GAN"))
    return cell("Table 2", "CAD-Net", CUHK, "rank1", setting) - max(others)


def _statements() -> tuple[Statement, ...]:
    own = ("CAD-Net", "CAD-Net (f only)", "CAD-Net (g only)")
    text = "Rank-1 above the best competitor by 4 to 8 points: the"
    return (
        _states("4.4", f"{text} smallest gain", "4", _over_best(min, own), 3, 5, "MLR-VIPeR"),
        _states("4.4", f"{text} largest gain", "8", _over_best(max, own), 7, 9, "MLR-CUHK03"),
        _positive(
            "4.4",
            "[f, g] consistently above f alone and g alone: the smallest gain over Rank-1, Rank-5 and Rank-10",
            least_gain("Table 1", FIVE_SETS, "CAD-Net", own[1:]),
            "a tie at Rank-5 on MLR-CUHK03: g only has 97.4 as well",
        ),
        _positive(
            "abstract",
            "Superior especially at an unseen resolution: the lead in Rank-1 at r = 8 less that at seen rates",
            lambda cell: _lead(cell, "unseen r=8") - _lead(cell, "seen r in {2,3,4}"),
        ),
        _positive(
            "4.6",
            "Significant drop without L_adv^DF, severe without L_rec: Rank-1 of the first less that of the second",
            gain("Table 3", CUHK, "w/o L_adv^DF", "w/o L_rec"),
            "so after L_cls it is L_rec that costs the most",
        ),
        _positive(
            "4.6",
            "The image-level loss helps image quality: SSIM gained by L_adv^DI, in hundredths",
            lambda cell: 100 * gain("Table 3", CUHK, "CAD-Net", "w/o L_adv^DI", "ssim")(cell),
        ),
        _exact("4.6", "Without L_adv^DI Rank-1 drops by", 2.3, gain("Table 3", CUHK, "CAD-Net", "w/o L_adv^DI")),
    )


STATEMENTS = _statements()
