"""A reproducible companion to five papers on cross-resolution person re-identification (re-ID)."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "VectorPanning":  # torch and scikit-learn are imported when it is first asked for
        from reid_lib.training.vpfa import VectorPanning

        return VectorPanning
    if name == "compare":
        from reid_lib.evaluation.comparison import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
