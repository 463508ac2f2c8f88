"""Reports as self-contained pages: sections of tables, charts and markup; nothing is fetched."""

from xrt.report.charts import bar_chart, line_chart
from xrt.report.page import Table, metrics_table, write_report

__all__ = ["Table", "bar_chart", "line_chart", "metrics_table", "write_report"]
