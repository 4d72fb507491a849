//! Seeded inputs shaped like re-identification features.
