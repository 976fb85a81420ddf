"""The batch job: rows of texts in, exactly one output row for each, in order."""

from irr.batch.checkpoint import Checkpoint
from irr.batch.job import (
    Engine,
    Forecast,
    Job,
    OutputRows,
    Progress,
    forecast,
    local,
    predictions,
    run,
)
from irr.batch.rows import InputRow, OutputRow, Price, Tally, fields_of, json_line, rows_of

__all__ = [
    "Checkpoint",
    "Engine",
    "Forecast",
    "InputRow",
    "Job",
    "OutputRow",
    "OutputRows",
    "Price",
    "Progress",
    "Tally",
    "fields_of",
    "forecast",
    "json_line",
    "local",
    "predictions",
    "rows_of",
    "run",
]
