"""One module per page or section of a page."""
