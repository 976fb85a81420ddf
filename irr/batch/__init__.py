"""The batch job: rows of texts in, exactly one output row for each, whatever happens between."""

from irr.batch.job import Diagnoser, Engine, Job, OutputRows, local, predictions, run

__all__ = ["Diagnoser", "Engine", "Job", "OutputRows", "local", "predictions", "run"]
