"""Networks of which it is not shown that they learned: those no better than a constant guess."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import TYPE_CHECKING

from nas.analysis.claims.grades import LEVEL
from nas.formatting import count

if TYPE_CHECKING:
    from nas.study.run_config import RunConfig


def learned(error: float, config: RunConfig, networks: int) -> bool:
    """Tell whether a validation error is shown to be below that of a constant guess.

    It is where so few errors are rarer than 5 % under a binomial distribution with the error of the guess,
    after Bonferroni over all networks, of which this may be the luckiest. Where the guess is not known (of
    masks, or in a run of an older version) no network is called unlearned.

    Args:
        error: A fraction of the validation images.
        config: Of the run, with the error of the guess and the number of validation images.
        networks: Distinct networks that the run trained.
    """
    if config.guess_error is None or config.val_images is None:
        return True
    from scipy.special import betainc

    wrong = floor(error * config.val_images + 0.5)
    if wrong >= config.val_images:
        return False
    at_most = betainc(config.val_images - wrong, wrong + 1, 1 - config.guess_error)  # binomial
    return bool(networks * at_most < LEVEL)


def unlearned_text(names: Sequence[str], members: int, config: RunConfig) -> str:
    """Return a sentence on the networks of a front that are not shown to have learned; "" if there are none.

    Args:
        names: Of these networks.
        members: Networks of the front.
        config: Of the run.
    """
    if not names:
        return ""
    guess = f"a constant guess, which has {config.guess_error:.2%} error"
    if len(names) < members:
        return f"Not shown to be better than {guess}: {', '.join(names)}."
    networks = "The network is not" if members == 1 else f"None of the {count(members, 'network')} is"
    return (
        f"{networks} shown to be better than {guess}. Train longer (--epochs), try another learning rate "
        "(--recipe lr=0.05), validate on more images, or look at the labels (nas data PATH --plot look.png)."
    )
