"""Files, streams, tables and data frames in and out."""
