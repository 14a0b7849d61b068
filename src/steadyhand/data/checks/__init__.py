"""What is wrong or doubtful in a data set: files, columns, cameras, and the numbers themselves."""

from steadyhand.data.checks.report import Report, check, check_dataset

__all__ = ["Report", "check", "check_dataset"]
