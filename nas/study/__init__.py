"""The record of a search: trials, the study, the run folder and its settings."""
