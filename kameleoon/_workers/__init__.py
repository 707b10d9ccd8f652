"""The only room where a thread starts, stops and survives a fork. What the jobs do is not known here."""
