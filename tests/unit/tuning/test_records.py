from dataclasses import replace

from mer_ray.tuning.records import TrialRecord, best_of, finalists_of, pareto_front, repeated_failure


def complete(number: int, **values: float) -> TrialRecord:
    return TrialRecord(number, "complete", {}, values=values)


def test_the_best_is_the_first_of_the_best_complete_trials() -> None:
    pruned = TrialRecord(0, "pruned", {}, scores={"uar": 0.9})
    records = [pruned, complete(1, uar=0.5), complete(2, uar=0.7), complete(3, uar=0.7)]

    best = best_of(records, "uar")

    assert best is records[2]
    assert best_of([pruned], "uar") is None


def test_errors_are_better_low() -> None:
    best = best_of([complete(0, valence_mse=2.0), complete(1, valence_mse=1.0)], "valence_mse")

    assert best is not None
    assert best.number == 1


def test_the_front_keeps_what_no_other_trial_beats() -> None:
    records = [
        complete(0, uar=0.5, parameters=10),
        complete(1, uar=0.7, parameters=30),
        complete(2, uar=0.6, parameters=30),
        complete(3, uar=0.5, parameters=20),
        complete(4, uar=0.5, parameters=10),
    ]

    front = pareto_front(records, {"uar": "maximize", "parameters": "minimize"})

    assert [record.number for record in front] == [0, 1, 4]


def test_a_reason_that_comes_again_and_again_is_told() -> None:
    failed = [TrialRecord(number, "failed", {}, reason=reason) for number, reason in enumerate(["a", "b", "a"])]

    assert repeated_failure(failed, 2) == "a"
    assert repeated_failure(failed, 3) is None


def test_reasons_that_differ_by_numbers_alone_are_the_same() -> None:
    reasons = [
        "fold 1, seed 0, epoch 3: the loss is nan; lower learning_rate (now 1e+30)",
        "fold 2, seed 0, epoch 14: the loss is nan; lower learning_rate (now 2.5e+30)",
        "worker died: pid 41, actor 6d6f0e8b01000000",
        "worker died: pid 4711, actor ffff0e8b01000000",
    ]
    failed = [TrialRecord(number, "failed", {}, reason=reason) for number, reason in enumerate(reasons)]

    assert repeated_failure(failed[:2], 2) == reasons[0]
    assert repeated_failure(failed[2:], 2) == reasons[2]
    assert repeated_failure(failed[1:3], 2) is None


def test_finalists_are_the_best_complete_trials_and_the_starts_once_each():
    records = [complete(0, uar=0.2), complete(1, uar=0.5), complete(2, uar=0.9), replace(complete(3, uar=0.3), state="pruned")]
    records += [complete(4, uar=0.7), complete(5, uar=0.9)]

    assert [one.number for one in finalists_of(records, "uar", 2, num_starts=2)] == [2, 5, 1, 0]
    assert [one.number for one in finalists_of(records, "uar", 4, num_starts=2)] == [2, 5, 4, 1, 0]
    assert finalists_of(records[3:4], "uar", 4, num_starts=4) == []


def test_finalists_by_an_error_are_those_of_the_least_one_and_a_start_that_was_repeated_stays_one():
    records = [replace(complete(0, valence_mse=1.0), state="running"), complete(1, valence_mse=0.5), complete(2, valence_mse=0.1)]
    records.append(replace(complete(3, valence_mse=2.0), stands_for=0))

    assert [one.number for one in finalists_of(records, "valence_mse", 1, num_starts=1)] == [2, 3]
