"""Click logs, and what clicks say of a query."""
