"""The batch job: rows of texts in, exactly one output row for each, in order."""

from irr.batch.job import Engine, Job, OutputRows, Progress, local, predictions, run

__all__ = ["Engine", "Job", "OutputRows", "Progress", "local", "predictions", "run"]
