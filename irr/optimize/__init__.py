"""Optimize on tens of examples: hyperparameters without a language model, prompts with DSPy."""

from irr.lm.cache import Budget
from irr.optimize.calibrating import calibrate
from irr.optimize.optimize import Optimized, check_models, optimize, split
from irr.optimize.search import Optimizer
from irr.optimize.stages import Students

__all__ = ["Budget", "Optimized", "Optimizer", "Students", "calibrate", "check_models", "optimize", "split"]
