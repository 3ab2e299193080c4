//! Seeded streams of events with labelled abuse.
