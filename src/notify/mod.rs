//! Decisions to routes to receivers: its own consumer, so that detection never waits for people.
