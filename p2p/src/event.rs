//! What the network tells the node.

use crate::{
    frames::RESPONSE_BYTES_MAX,
    gossip::Gossip,
    messages::{Answer, Request, Response},
    peer::Peer,
};
use ledger::codec;
use tokio::sync::oneshot;

/// Something that came from the network.
#[derive(Debug)]
pub enum Event {
    /// A peer of this chain is connected and hears what is published.
    Connected {
        /// Who.
        peer: Peer,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// Who.
        peer: Peer,
    },
    /// A message that waits for a verdict.
    Gossip(Gossip),
    /// A peer asks something.
    Request {
        /// Who.
        from: Peer,
        /// What.
        request: Request,
        /// How to answer.
        reply: Reply,
    },
    /// Someone of another chain, or of another version of the protocol, was turned away.
    WrongChain {
        /// Who.
        peer: Peer,
        /// What it says it speaks, in place of `tintype/VERSION/CHAIN`.
        theirs: String,
    },
}

/// The way back to who asked. Dropping it answers `Refused`.
#[derive(Debug)]
pub struct Reply {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Vec<u8>>,
}

impl Reply {
    /// Answers. An answer that does not fit the question is an error of this node: it is logged and refused.
    pub fn send(self, response: Response) {
        if !self.request.is_answered_by(&response) {
            tracing::error!(request = ?self.request, "an answer that does not fit its question");
            return;
        }
        let bytes = codec::encode(&Answer::Node(response));
        let max = self.request.answer_bytes_max().min(RESPONSE_BYTES_MAX);
        if bytes.len() > max as usize {
            let found = bytes.len();
            tracing::error!(request = ?self.request, found, max, "an answer too large to send");
            return;
        }
        // Who asked may be gone.
        let _ = self.answer.send(bytes);
    }

    /// Whether anyone still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }
}
