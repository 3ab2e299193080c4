//! The same fold over a file of events.
