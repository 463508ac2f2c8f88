"""Why a model suggests a label for a text, or does not."""
