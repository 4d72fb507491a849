//! Python module `reid_cluster._core`.
