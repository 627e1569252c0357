"""Rows and files: results, the artefact map, claims, tables, figures, pages. Needs no torch."""
