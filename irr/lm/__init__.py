"""Language models: their interface, their usage, and the models that come with irr."""
