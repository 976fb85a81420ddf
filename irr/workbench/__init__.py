"""The workbench: what is made with programs, on the public API alone."""
