//! The metrics of the process, in Prometheus text (contract K3).
