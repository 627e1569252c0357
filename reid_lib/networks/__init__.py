"""Backbones and, one module per paper, the networks."""
