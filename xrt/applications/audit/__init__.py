"""`xrt audit`: which labels of a corpus look wrong or missing, with the evidence for each."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrt.applications.audit.audit_params import AuditParams as AuditParams
    from xrt.applications.audit.auditing import audit as audit
    from xrt.applications.audit.correction.applying import apply_suggestions as apply_suggestions

_HOMES = {
    "AuditParams": "xrt.applications.audit.audit_params",
    "apply_suggestions": "xrt.applications.audit.correction.applying",
    "audit": "xrt.applications.audit.auditing",
}

__all__ = ["AuditParams", "apply_suggestions", "audit"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
