"""Charts of the toolbox."""
