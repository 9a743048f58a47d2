"""Every model trained and measured alike, and the table of it."""
