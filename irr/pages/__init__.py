"""Pages: HTML documents that need nothing else, and the scripts and styles of all of them."""
