//! The product on an in-process Kafka stand-in, with a seeded stream of labelled abuse.
