"""The statements of the papers, put to the test."""
