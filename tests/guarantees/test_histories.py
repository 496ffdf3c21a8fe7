"""Any order of calls gives what the slow model says: see histories.py."""

import histories
from hypothesis import settings

TestHistories = histories.Histories.TestCase
TestHistories.settings = settings(histories.quiet(), max_examples=200, derandomize=True)
