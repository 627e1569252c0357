"""One loop per method, on the parts that every loop shares (`run`)."""
