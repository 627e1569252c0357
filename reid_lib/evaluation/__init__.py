"""What is measured: ranking, and later image quality, clustering and directions."""
