"""Files and streams, in and out."""
