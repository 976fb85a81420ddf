"""The label space: readers, checks, hierarchy, diagnostics."""
