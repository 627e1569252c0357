"""INTACT: its tables and figures, what it says in words, and numbers in its prose."""

from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper
from reid_lib.reporting.claims import Cell, Claim, above, all_of, best, close, gains_more, greater, less, ordered, worst
from reid_lib.reporting.drawing import Arrow, Box, Drawing, Group
from reid_lib.reporting.statements import (
    CAVIAR,
    CUHK,
    FIVE_SETS,
    MARKET,
    VIPER,
    Published,
    Statement,
    exact,
    gain,
    gains,
    least_gain,
    positive,
)

PAPER = Paper("intact", "INTACT", "INTACT (CVPR 2020)", "12_intact")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.figure("Fig. 1", "Resolution mismatch: one person as the gallery has it, and as a query at four rates"),
    PAPER.figure("Fig. 2", "Overview of INTACT, drawn from the network itself"),
    PAPER.figure("Fig. 3", "Architecture of the generator, drawn from the network itself"),
    PAPER.table("Table 1", "Comparison with earlier methods on five data sets"),
    PAPER.table("Table 2", "Image quality against Rank-1: Sole SR, SR + ID, INTACT"),
    PAPER.figure("Fig. 4", "Recovered test images for r = 2, 3, 4, 8"),
    PAPER.table("Table 3", "Ablation of the loss terms"),
    PAPER.figure("Fig. 5", "The association designs, drawn from the networks themselves"),
    PAPER.table("Table 4", "Common space, D-to-R and R-to-D association"),
    PAPER.table("Table 5", "With and without the bridge constraint"),
    PAPER.text("Section 4.3", "What the critic costs: images a second in training, in percent of those without it"),
    PAPER.own("table", "field", "One field", "INTACT, C alone and HR + LR: Rank-1 and paired gains"),
    PAPER.own(
        "figure", "gradients", "Gradients", "The gradients of L_id and L_dis in G's first layers, epoch by epoch"
    ),
    PAPER.own(
        "table",
        "sign",
        "Sign of success",
        "Whether L_dis of a query is smaller where it is matched right: AUC and means",
    ),
    PAPER.own("figure", "training", "Training", "The terms of Algorithm 1, epoch by epoch"),
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
_positive = partial(positive, PAPER.key)


# --- its architecture ----------------------------------------------------------------------------


def _run(network, images) -> None:
    recovered = network.G(images)
    f_c, f_d = network.C.embed(recovered), network.D.features(recovered)
    network.phi(f_c)
    network.sigma(f_d)


ARCHITECTURE = Drawing(
    _run,
    height=500,
    boxes=(
        Box("x_l", (8, 168), "$x_l$", "LR, resized", "input", size=(92, 94), look="plain"),
        Box("G", (135, 168), "G: generator", "super-resolution", "G", "G", (150, 94)),
        Box("x_h", (135, 372), "$x_h$", "HR image", size=(150, 50), look="plain"),
        Box("D", (395, 40), "D: is it HR?", "last hidden layer $f_d$", "D.hidden", "D", (165, 94), "game"),
        Box("C", (395, 300), "C: who is it?", "feature $f_c$, frozen", "C.neck", "C", (165, 94), "frozen"),
        Box("phi", (640, 300), r"$\phi$: association", "encoder, decoder", "phi.decoder", "phi", (165, 94)),
        Box("sigma", (640, 40), r"$\sigma$: bridge", "like the encoder", "sigma", "sigma", (165, 94)),
        Box(
            "meet",
            (600, 192),
            r"$\phi(f_c)$ and $f_d$ compared",
            "Eq. 5 on $x_h$, Eq. 8 on $G(x_l)$",
            size=(225, 50),
            look="step",
        ),
    ),
    arrows=(
        Arrow("x_l.right", "G.left"),
        Arrow("G.right", "D.left", "$G(x_l)$", (312, 204), ((345, 215), (345, 87))),
        Arrow((345, 215), "C.left", r"$L_{MSE}$ (Eq. 4): near $x_h$", (210, 276), ((345, 347),)),
        Arrow("x_h.right", "C.left:0.5", "in steps (1), (2)", (280, 425), ((345, 397), (345, 347))),
        Arrow("D.right", "sigma.left", "$f_d$", (600, 75)),
        Arrow("D.bottom:0.8", "meet.left", "$f_d$", (545, 178), ((527, 217),)),
        Arrow("C.right", "phi.left", "$f_c$", (600, 335)),
        Arrow("phi.top:0.44", "meet.bottom"),
        Arrow("sigma.right", "phi.right", r"$L_e$ (Eq. 6)", (845, 375), ((850, 87), (850, 347))),
        Arrow("C.bottom", (477, 432), r"$L_{id}$ (Eq. 3): identity of $G(x_l)$", (477, 444)),
        Arrow("D.top", (477, 16), r"$L_{gan}$ (Eq. 1)", (530, 20)),
    ),
    note="Step (1) trains D (orange), step (2) the association on HR images, step (3) G against all of them.",
)


def _run_generator(network, images) -> None:
    network.G(images)


def _group(number: int) -> Box:
    """A group of two residual blocks: the first four in the upper row, the others back in the lower one."""
    down = number <= 4
    name, kind = (f"down.{number - 1}", "max pooling, 2 blocks") if down else (f"up.{number - 5}", "2 blocks, shuffle")
    at = (180 * number, 40) if down else (180 * (9 - number), 200)
    return Box(f"group {number}", at, f"group {number}", kind, f"G.{name}", f"G.{name}", (150, 94))


GENERATOR = Drawing(
    _run_generator,
    height=360,
    boxes=(
        Box("stem", (8, 40), "$x_l$", "first convolution", "G.stem", "G.stem", (142, 94)),
        *(_group(number) for number in range(1, 9)),
        Box("image", (8, 200), "$G(x_l)$", "last convolution", "G.to_image", "G.to_image", (142, 94)),
    ),
    arrows=(
        Arrow("stem.right", "group 1.left"),
        *(Arrow(f"group {i}.right", f"group {i + 1}.left") for i in (1, 2, 3)),
        Arrow("group 4.bottom", "group 5.top"),
        *(Arrow(f"group {i}.left", f"group {i + 1}.right") for i in (5, 6, 7)),
        Arrow("group 8.left", "image.right"),
    ),
    note="Four groups halve the map, four double it again. A residual block has two 3x3 convolutions.",
)


def _run_designs(networks, images) -> None:
    for network in networks.values():
        _run_design(network, images)


def _run_design(network, images) -> None:
    source, target = network.associated(network.C.embed(images), network.D.features(images))
    network.phi(source)
    if network.sigma is not None:
        network.sigma(target)


def _design(name: str, title: str, at: tuple[float, float], source: str, target: str, *, decode: bool, bridge: bool):
    """The boxes, arrows and frame of one association design: source on the left, target on the right."""
    x, y = at
    boxes = [
        Box(f"{name} source", (x + 6, y + 133), source, size=(38, 30), look="plain"),
        Box(
            f"{name} encoder", (x + 60, y + 104), "encoder", "", f"{name}.phi.encoder", f"{name}.phi.encoder", (126, 88)
        ),
        Box(f"{name} target", (x + 396, y + 133), target, size=(38, 30), look="plain"),
    ]
    arrows = [Arrow(f"{name} source.right", f"{name} encoder.left")]
    meet = (x + 210, y + 148)  # f_e
    if decode:
        boxes += [
            Box(
                f"{name} decoder",
                (x + 240, y + 104),
                "decoder",
                "",
                f"{name}.phi.decoder",
                f"{name}.phi.decoder",
                (126, 88),
            )
        ]
        arrows += [
            Arrow(f"{name} encoder.right", f"{name} decoder.left", "$f_e$" if bridge else "", (x + 210, y + 162)),
            Arrow(f"{name} decoder.right", f"{name} target.left"),
        ]
    if bridge:
        place = (x + 218, y + 10) if decode else (x + 240, y + 104)
        size = (126, 80) if decode else (126, 88)
        boxes += [Box(f"{name} sigma", place, r"$\sigma$", "", f"{name}.sigma", f"{name}.sigma", size)]
        arrows += (
            [
                Arrow(f"{name} target.top", f"{name} sigma.right", "", (0, 0), ((x + 415, y + 50),)),
                Arrow(f"{name} sigma.left", meet, r"$L_e$", (x + 198, y + 80), ((x + 210, y + 50),)),
            ]
            if decode
            else [
                Arrow(f"{name} target.left", f"{name} sigma.right"),
                Arrow(f"{name} encoder.right", (x + 208, y + 148)),
                Arrow(f"{name} sigma.left", (x + 212, y + 148), r"$L_e$", (x + 213, y + 166)),
            ]
        )
    return boxes, arrows, Group(title, at, (442, 202))


def _designs() -> Drawing:
    f_c, f_d = "$f_c$", "$f_d$"
    panels = (
        _design("a", "(a) common space", (4, 4), f_c, f_d, decode=False, bridge=True),
        _design("b", "(b) D-to-R", (454, 4), f_d, f_c, decode=True, bridge=True),
        _design("c", "(c) R-to-D: INTACT", (4, 214), f_c, f_d, decode=True, bridge=True),
        _design("d", "(d) R-to-D without the bridge", (454, 214), f_c, f_d, decode=True, bridge=False),
    )
    boxes, arrows, groups = zip(*panels, strict=True)
    note = (
        r"$f_c$: feature of the re-ID model C. $f_d$: feature of the discriminator D. All designs learn on HR images."
    )
    return Drawing(_run_designs, 470, sum(map(tuple, boxes), ()), sum(map(tuple, arrows), ()), groups, note)


DESIGNS = _designs()


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
            "Image quality is not re-ID quality: SR + ID over Sole SR in Rank-1, under it in SSIM and PSNR",
            "4.5 (2), (4)",
            all_of(
                greater(sr_id, sole),
                *(less(Cell("SR + ID", "", metric), Cell("Sole SR", "", metric)) for metric in ("ssim", "psnr")),
            ),
        ),
        _claim(
            "Table 2",
            "What helps re-ID lowers fidelity: INTACT over SR + ID in Rank-1, under it in SSIM and PSNR",
            "4.5 (4)",
            all_of(
                greater(intact, sr_id),
                *(less(Cell("INTACT", "", metric), Cell("SR + ID", "", metric)) for metric in ("ssim", "psnr")),
            ),
        ),
        _claim(
            "Table 2",
            "Better than CAD-Net, which has super-resolution and invariant features both (Rank-1)",
            "4.4 (4)",
            greater(intact, Cell("CAD-Net")),
        ),
        _claim("Table 3", "Each loss term adds: MSE+ID < +GAN < +Association", "4.6", ordered(*steps)),
        _claim(
            "Table 3",
            "The association loss adds more than the GAN loss",
            "4.6 (2), (3)",
            gains_more((steps[1], steps[2]), (steps[0], steps[1])),
        ),
        _claim(
            "Table 3",
            "What the GAN loss adds is marginal (at most 2 points of Rank-1)",
            "4.6 (2)",
            close(*steps[:2], 2),
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
        _claim(
            "Section 4.3",
            "No cost per iteration: with the critic at least 90 % of the images a second without it",
            "4.3",
            above(Cell("INTACT", "", "throughput_percent"), 90),
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
        _positive(
            "4.4 (1)",
            "Consistently above CAD-Net at Rank-1: the smallest gain",
            gains(min, "Table 1", FIVE_SETS, "INTACT", "CAD-Net"),
        ),
        _positive(
            "4.4 (3)",
            "Above JUDEA, SDF and RAIN on MLR-VIPeR, CAVIAR and MLR-CUHK03: the smallest gain over all ranks",
            least_gain("Table 1", (VIPER, CAVIAR, CUHK), "INTACT", ("JUDEA", "SDF", "RAIN")),
            "RAIN has 98.7 at Rank-10 on MLR-CUHK03, INTACT 98.5",
        ),
        _positive(
            "4.4 (5)",
            "Above CamStyle and FD-GAN, standard re-ID models: the smallest gain over all ranks",
            least_gain("Table 1", FIVE_SETS, "INTACT", ("CamStyle", "FD-GAN")),
        ),
        _positive(
            "4.6 (2)",
            "The GAN loss makes Rank-1 slightly better",
            gain("Table 3", MARKET, "MSE+ID+GAN", "MSE+ID"),
        ),
    )


STATEMENTS = _statements()
