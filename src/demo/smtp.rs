//! The mail server of the demo: takes every mail and lays it into the outbox.
//!
//! Knows what a client needs to hand over a mail, and refuses the rest. No TLS and no
//! authentication: it listens on 127.0.0.1 and passes nothing on.

use std::sync::Arc;

use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};
use smtp_proto::{Error, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::outbox::{Kind, Outbox};

/// A notice lists at most 50 decisions, some 30 kB.
const MAIL_MAX_BYTES: usize = 1 << 20;

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, outbox: Arc<Outbox>) {
    while let Ok((stream, _)) = listener.accept().await {
        let outbox = outbox.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &outbox).await {
                tracing::debug!(%error, "a mail client went away");
            }
        });
    }
}

async fn converse(mut stream: TcpStream, outbox: &Outbox) -> std::io::Result<()> {
    stream.write_all(b"220 outbox ESMTP\r\n").await?;
    let mut commands = RequestReceiver::default();
    let mut mail: Option<(DataReceiver, Vec<u8>)> = None;
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut bytes = buffer[..count].iter();
        loop {
            let answer = if let Some((receiver, text)) = &mut mail {
                let complete = receiver.ingest(&mut bytes, text);
                if !complete && text.len() <= MAIL_MAX_BYTES {
                    break;
                }
                let kept = complete && outbox.put(Kind::Mail, text).is_ok();
                mail = None;
                if !complete {
                    stream.write_all(b"552 too large\r\n").await?;
                    return Ok(());
                }
                if kept { "250 in the outbox\r\n" } else { "451 cannot write the outbox\r\n" }
            } else {
                match commands.ingest(&mut bytes) {
                    Err(Error::NeedsMoreData { .. }) => break,
                    Err(_) => "500 not understood\r\n",
                    Ok(Request::Data) => {
                        mail = Some((DataReceiver::new(), Vec::new()));
                        "354 end with a dot\r\n"
                    }
                    Ok(Request::Quit) => {
                        stream.write_all(b"221 bye\r\n").await?;
                        return Ok(());
                    }
                    Ok(
                        Request::Ehlo { .. }
                        | Request::Helo { .. }
                        | Request::Mail { .. }
                        | Request::Rcpt { .. }
                        | Request::Rset
                        | Request::Noop { .. },
                    ) => "250 outbox\r\n",
                    Ok(_) => "502 not here\r\n",
                }
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}
