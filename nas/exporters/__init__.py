"""Exports of a run (`run`) and of the zoo (`zoo`): folders that need neither `nas` nor the run."""
