"""The analysis of studies: contrasts of module types and what may be claimed of them (`analyze`)."""
