"""A program as an HTTP service: texts in, rows of labels out, and the label space to search."""
