"""The worked uses, on top of the pipeline."""
