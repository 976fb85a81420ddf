"""Optimize on tens of examples: hyperparameters without a language model, prompts with DSPy."""
