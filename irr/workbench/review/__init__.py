"""Review: people judge the labels that a program proposes, and no judgment is lost."""
