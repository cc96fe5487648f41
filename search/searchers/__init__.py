"""Searchers by name: which candidate comes next. Each is a `Proposer` behind the one Ray `Searcher`."""

from spaces.plugins import Table

SEARCHERS = Table(
    "searchers",
    {
        "evolution": "search.searchers.evolution:Evolution",
        "hyperopt": "search.searchers.tree_parzen:TreeParzen",
        "random": "search.searchers.random_search:RandomSearch",
    },
)
