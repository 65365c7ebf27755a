"""How uncertain a run's loss holds its labels to be: the learnt log variances of an uncertainty-weighted loss."""

import math
import statistics
from typing import Any

from mer_ray.reporting.curves import curves_by_step
from mer_ray.reporting.runs import Run


def uncertainties_of(run: Run) -> dict[str, Any] | None:
    """`steps` as `curves_by_step` has them, and `final`: the variance of each term in the last epoch; None where the loss learns none.

    A row of `final` holds `step`, `term`, `mean` and `std` of exp(log variance) over folds and seeds (None for one), `num_fits`.
    """
    steps = curves_by_step(run.history, "log_variance_", run.facts["values"])
    if not steps:
        return None
    final = []
    for step in steps:
        for term in step["terms"]:
            variances = [math.exp(member["values"][-1]) for member in term["members"]]
            std = statistics.stdev(variances) if len(variances) > 1 else None
            row = {"mean": statistics.fmean(variances), "std": std, "num_fits": len(variances)}
            final.append({"step": step["step"], "term": term["term"], **row})
    return {"steps": steps, "final": final}
