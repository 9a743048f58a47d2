"""A name that is text and no markup."""

ODD = "a [b] [bold red] [old\\] :smile: \\[c] \U0001f600 β\nd"  # markup, emoji codes, two lines
