"""Language models: what a stage may ask of one, and the models there are."""
