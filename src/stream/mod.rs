//! The Kafka loop: worker, transaction, partials, restore, quarantine. Decides nothing.
