"""Optimize on tens of examples: numbers without a language model, prompts with DSPy."""

from irr.optimize.budget import Budget
from irr.optimize.run import Optimized, check_models, optimize, split
from irr.optimize.search import Optimizer
from irr.optimize.stages import Students

__all__ = ["Budget", "Optimized", "Optimizer", "Students", "check_models", "optimize", "split"]
