"""The label index: vectors and words of every entry of a label space."""
