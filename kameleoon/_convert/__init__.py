"""Convert's project configuration, read and compiled to decisions; apart because its rules and its bucketing are its own."""
