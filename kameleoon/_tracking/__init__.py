"""From what is unsent of a visitor to lines, from lines to requests: what to send and when, never how."""
