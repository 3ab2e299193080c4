//! What a failed call to the client asks of a worker.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::Failure;

/// What an error of a transactional call asks for.
pub(super) fn classify(error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    match error {
        // The group has another member of our name, or has lost its memory of us: the consumer
        // hears of it seconds later.
        _ if code == Some(RDKafkaErrorCode::FencedInstanceId) => {
            Failure::Replaced(error.to_string())
        }
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

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::classify;
    use crate::stream::Failure;

    #[test]
    fn a_member_that_the_group_has_forgotten_does_not_try_again() {
        let verdict = |code| classify(&KafkaError::ConsumerCommit(code));
        assert!(matches!(verdict(RDKafkaErrorCode::FencedInstanceId), Failure::Replaced(_)));
        assert!(matches!(verdict(RDKafkaErrorCode::IllegalGeneration), Failure::Aborted(_)));
        assert!(matches!(verdict(RDKafkaErrorCode::OperationTimedOut), Failure::Retriable(_)));
    }
}
