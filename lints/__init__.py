"""Rules of this house that no linter knows, and the audit of what we depend on."""
