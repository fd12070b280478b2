"""Decode reports: what the law paid at each token of one response, which rule acted there, and what the model wanted.

Importing this package loads neither torch nor matplotlib. Exception root: `DecodeReportError`.
"""

from bylaw.runtime.decode_report.build import build_report, build_reports
from bylaw.runtime.decode_report.record import DecodeReport, DecodeReportError, load, save, to_json

__all__ = ["DecodeReport", "DecodeReportError", "build_report", "build_reports", "load", "save", "to_json"]
