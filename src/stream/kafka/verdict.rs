//! What a failed call to the client asks of a worker.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::Failure;

/// What an error of a transactional call asks for.
pub(super) fn classify(error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    match error {
        KafkaError::Transaction(inner) if inner.is_fatal() => {
            fatal(code.unwrap_or(RDKafkaErrorCode::Fatal), error.to_string())
        }
        KafkaError::Transaction(inner) if inner.txn_requires_abort() => {
            Failure::Aborted(error.to_string())
        }
        KafkaError::Transaction(inner) if inner.is_retriable() => {
            Failure::Retriable(error.to_string())
        }
        _ => match code {
            Some(RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut) => {
                Failure::Retriable(error.to_string())
            }
            Some(RDKafkaErrorCode::State | RDKafkaErrorCode::Fatal) => {
                Failure::Fatal(error.to_string())
            }
            _ => Failure::Aborted(error.to_string()),
        },
    }
}

pub(super) fn fatal(code: RDKafkaErrorCode, reason: String) -> Failure {
    match code {
        RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::Fenced => Failure::Replaced(reason),
        _ => Failure::Fatal(reason),
    }
}
