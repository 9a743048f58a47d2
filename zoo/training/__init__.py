"""The training core and the run that writes a folder."""
