"""Networks of a run (`of_run`) and of the zoo (`of_zoo`) as folders that stand on their own."""
