"""The commands on files: a table in, a model, predictions, scores or a report out."""
