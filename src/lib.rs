//! tidegate: a stream-processing risk and anomaly detector for loyalty-points programmes.

pub mod event;
pub mod rule;

pub mod engine;

pub mod config;
pub mod metrics;

pub mod backtest;
pub mod cli;
pub mod demo;
pub mod generate;
pub mod http;
pub mod notify;
pub mod stream;
