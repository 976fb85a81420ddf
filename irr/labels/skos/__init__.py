"""Label spaces as published in SKOS."""
