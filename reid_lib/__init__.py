"""A reproducible companion to five papers on cross-resolution person re-identification (re-ID)."""

__version__ = "0.1.0"
