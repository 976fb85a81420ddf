"""BERTopic on vectors that are handed over; runs in an environment of its own, which has no irr.

python eval/draft_bertopic.py TASK.json OUT.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bertopic import BERTopic
from hdbscan import HDBSCAN
from sklearn.cluster import KMeans
from umap import UMAP


def topics(task: dict[str, Any], vectors: Any, seed: int) -> dict[str, list[int]]:
    """The topic of each text: by default, with as many topics as wanted, and by k-means."""
    size = task["size"]
    ways = {
        "as it comes": {},
        "small clusters, size": {
            "hdbscan_model": HDBSCAN(min_cluster_size=2, prediction_data=True),
            "nr_topics": size + 1,
        },
        "k-means, size": {"hdbscan_model": KMeans(size, random_state=seed, n_init=4)},
    }
    found = {}
    for name, options in ways.items():
        umap = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=seed)
        model = BERTopic(umap_model=umap, **options)
        own, _ = model.fit_transform(task["texts"], vectors)
        if -1 in own and len(set(own)) > 2:
            own = model.reduce_outliers(task["texts"], own, strategy="embeddings", embeddings=vectors)
        found[name] = [int(topic) for topic in own]
    return found


if __name__ == "__main__":
    task = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    vectors = np.load(task["vectors"])
    runs = [topics(task, vectors, seed) for seed in range(task["seeds"])]
    Path(sys.argv[2]).write_text(json.dumps(runs), "utf-8")
