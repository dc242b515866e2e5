"""The report: one page that holds everything known of a sweep, to be read, printed and sent without a network.

`Report.of` makes the plain value, `suite.report.page.render` the page (and alone needs jinja2).
"""

from __future__ import annotations

from suite.report.model import Origin, Report

__all__ = ["Origin", "Report"]
