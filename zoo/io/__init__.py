"""Files that are whole or absent, JSON of a known kind, pictures and the terminal."""
