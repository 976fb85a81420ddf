"""Audit: gold labels that are probably wrong or missing, and labels that no text tells apart or reaches."""

from irr.workbench.audit.gold_audit import Audit, audit

__all__ = ["Audit", "audit"]
