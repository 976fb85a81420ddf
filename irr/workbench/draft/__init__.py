"""Draft: a label space from a pile of texts, and one that grows."""
