"""Where workers leave their numbers. Apart, because the variable is set before prometheus loads."""

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
