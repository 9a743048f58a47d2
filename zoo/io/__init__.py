"""Files that are whole or absent, locks, JSON of a known kind (`records`), pictures, the terminal."""
