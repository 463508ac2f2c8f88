"""Click logs, and the evidence of clicks."""
