"""What can go wrong, in six kinds. A message is one line: what, where, both numbers, what to do."""


class XrtError(Exception):
    """Base of all errors that xrt raises on purpose; the command line prints it in one line."""


class DataError(XrtError, ValueError):
    """A corpus, matrix or label table that cannot be used as it is."""


class ConfigError(XrtError, ValueError):
    """A setting that is unknown, out of range or contradicts another."""


class ArtifactError(XrtError):
    """A saved model that is missing, truncated, altered, or of another format version."""


class NotFittedError(XrtError, ValueError, AttributeError):
    """A method that needs a fitted model was called before `fit` or `load`."""


class CapacityError(XrtError, MemoryError):
    """The machine is too small for what was asked (memory or disk)."""


class TrainingError(XrtError, RuntimeError):
    """Training cannot go on: the loss is not finite, or no step could be taken."""
