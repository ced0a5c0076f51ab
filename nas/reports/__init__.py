"""Reports of runs as HTML pages that need nothing but themselves."""
