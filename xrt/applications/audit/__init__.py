"""`xrt audit`: which labels of a corpus look wrong or missing, with the evidence for each."""

from xrt.applications.audit.correction.applying import apply_suggestions
from xrt.applications.audit.params import AuditParams
from xrt.applications.audit.run import audit

__all__ = ["AuditParams", "apply_suggestions", "audit"]
