"""Pages: HTML documents without external parts, and the scripts and styles of all of them."""
