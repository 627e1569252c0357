"""This project's own tables and figures on all five papers together, of notebooks 21 and 23."""

from functools import partial

from reid_lib.reporting.artefacts import Artefact, Paper

PAPER = Paper("comparison", "Comparison", "All five papers under one protocol", "23_unified_comparison")

_unseen = partial(PAPER.own, notebook="21_unseen_resolutions")

ARTEFACTS: tuple[Artefact, ...] = (
    _unseen("figure", "people", "People at r = 1 to 10", "One person at every rate, those seen in training marked"),
    _unseen("table", "unseen", "Unseen rates", "Rank-1 and mAP of every method at r = 1 to 10"),
    _unseen("figure", "rank1", "Rank-1 against r", "Rank-1 of the five methods and HR + LR at r = 1 to 10"),
    _unseen("figure", "baselines", "Baselines against r", "Rank-1 of the baselines and controls at r = 1 to 10"),
    _unseen("figure", "map", "mAP against r", "mAP of the five methods and HR + LR at r = 1 to 10"),
    _unseen("table", "protocols", "Unseen protocols", "r = 3 and r = 6, seen in training and not (LRAR's protocol)"),
    _unseen("figure", "moments", "The same moments", "Genuine LR images beside their HR truths, down-sampled"),
    _unseen("table", "genuine", "Genuine LR", "Rank-1 on genuine LR images and on the same moments down-sampled"),
    _unseen("figure", "genuine", "Genuine against down-sampled", "Each method on genuine and on down-sampled queries"),
    _unseen("figure", "orders", "Orders on other data", "How alike data sets order the methods, genuine LR among them"),
    _unseen("table", "kernels", "Kernel mismatch", "Rank-1 at r = 3 under other kernels, JPEG and sensor noise"),
    _unseen("figure", "kernels", "Change by kernel", "What each kernel and camera changes, method by method"),
    _unseen("figure", "trained", "Kernel of training", "HR + LR trained with one kernel and queried with another"),
    PAPER.own("table", "field", "Comparison", "All methods and baselines on the same trials, with paired gains"),
    PAPER.own("table", "order", "Rank order", "Mean place of each method among all"),
    PAPER.own("figure", "order", "Places", "Mean places, and which methods cannot be told apart"),
    PAPER.own("table", "pairs", "Pairs", "Paired difference in Rank-1 of every two methods"),
    PAPER.own("figure", "gains", "Gains over HR + LR", "Gains with intervals over trials and over people"),
    PAPER.own(
        "table", "behind", "VPFA behind each method", "VPFA, ridge and mean shift behind every method's features"
    ),
    PAPER.own("table", "unknown", "Rate unknown", "Methods that are told the rate, when it must be estimated"),
    PAPER.own("table", "cost", "Cost", "Parameters, multiply-adds, speed and training time"),
    PAPER.own("figure", "cost", "Accuracy against cost", "Rank-1 against each kind of cost"),
    PAPER.own("table", "people", "Lost people", "Share of people lost from HR to r = 4, and the best of all methods"),
    PAPER.own("figure", "failures", "Failures", "How alike methods fail, query by query"),
    PAPER.own("figure", "ranked", "Ranked lists", "The same query ranked by every method"),
)
