"""The worked uses, on top of the pipeline: product attributes, query intent, label audit."""
