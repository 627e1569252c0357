"""What is measured: ranking, recovered images, and frozen features: their directions and correlations."""
