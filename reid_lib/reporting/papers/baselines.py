"""This project's own tables and figures, of notebooks 00 to 02."""

from reid_lib.reporting.artefacts import Artefact, Paper

PAPER = Paper("baselines", "Baselines", "Baselines of this project")

ARTEFACTS: tuple[Artefact, ...] = (
    PAPER.own("figure", "people", "People at r = 1, 2, 4, 8", "Pedestrians as they lose resolution", "00_start_here"),
    PAPER.own(
        "figure",
        "rank1-by-rate",
        "Rank-1 against r",
        "A plain re-ID model loses Rank-1 as its queries lose resolution",
        "00_start_here",
    ),
    PAPER.own(
        "table",
        "counts",
        "Counts",
        "Images, identities and cameras of the data set and of a trial",
        "01_data_and_protocol",
    ),
    PAPER.own(
        "figure", "kernels", "Kernel pictures", "One person down-sampled with each kernel", "01_data_and_protocol"
    ),
    PAPER.own(
        "table", "kernels", "Kernel sensitivity", "Rank-1 under each down-sampling kernel", "01_data_and_protocol"
    ),
    PAPER.own("figure", "cameras", "Cameras", "The same people under every camera", "01_data_and_protocol"),
    PAPER.own(
        "figure", "cmc", "CMC curves", "Cumulative match characteristic of the plain models", "02_metrics_and_baselines"
    ),
    PAPER.own(
        "table",
        "baselines",
        "Baselines",
        "HR only, HR + LR, one model per rate, and IDE + Verif",
        "02_metrics_and_baselines",
    ),
    PAPER.own(
        "figure", "baselines", "Baselines against r", "Rank-1 of the plain models against r", "02_metrics_and_baselines"
    ),
)
