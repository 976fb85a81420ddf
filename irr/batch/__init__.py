"""The batch job: rows of texts in, exactly one output row for each, whatever happens between."""

from irr.batch.job import Answers, Engine, Job, Watcher, local, predictions, run

__all__ = ["Answers", "Engine", "Job", "Watcher", "local", "predictions", "run"]
