"""What is wrong or doubtful in a data set: files, columns, cameras, and the numbers themselves."""

from steadyhand.data.checks.report import CheckReport, check, check_dataset

__all__ = ["CheckReport", "check", "check_dataset"]
