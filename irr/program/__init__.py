"""Programs: composed, called, identified."""
