"""The batch job: rows of texts in, exactly one output row for each, in order."""

from irr.batch.checkpoint import Checkpoint
from irr.batch.job import Forecast, Job, OutputRows, Progress, forecast, local, on_ray, predictions, run
from irr.batch.rows import InputRow, OutputRow, Price, Tally, fields_of, json_line, rows_of

__all__ = ["Checkpoint", "Forecast", "Job", "OutputRows", "Progress", "forecast", "local", "on_ray"]
__all__ += ["InputRow", "OutputRow", "Price", "Tally", "fields_of", "json_line"]
__all__ += ["predictions", "rows_of", "run"]
