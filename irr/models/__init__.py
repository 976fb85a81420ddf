"""Language models behind the seam of `irr.lm`: served over HTTP, and embedded in the process."""
