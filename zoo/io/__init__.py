"""Whole or absent files, locks, JSON of a known kind (`records`), pictures and the terminal."""
