"""The predictions table of a run: one row per clip, fold and seed."""

import pyarrow as pa

from mer_ray.core.batch import TaskSpec


def predictions_schema(task: TaskSpec, attention_names: tuple[str, ...] = (), fact_names: tuple[str, ...] = ()) -> pa.Schema:
    """Columns: clip, split, fold, seed, speaker; `prob_<class>`, `emotion`, `<value>`; `label_*` where known; `attention_<name>`.

    `model_<name>` are the model's own numbers about a clip, such as a gate, null where it has none.
    `fold` is null where the run has no folds; `emotion` is the class of the highest probability.
    """
    return pa.schema(
        [
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            ("fold", pa.int32()),
            pa.field("seed", pa.int32(), nullable=False),
            ("speaker_id", pa.string()),
            *[(f"prob_{name}", pa.float32()) for name in task.classes],
            ("emotion", pa.string()),
            *[(name, pa.float32()) for name in task.values],
            ("label_emotion", pa.string()),
            *[(f"label_{name}", pa.float32()) for name in task.values],
            *[(f"attention_{name}", pa.float32()) for name in attention_names],
            *[(f"model_{name}", pa.float32()) for name in fact_names],
        ]
    )
