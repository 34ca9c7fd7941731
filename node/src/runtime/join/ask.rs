//! Carries the joiner's requests to peers, and what they answer back to it: chunks verified.

use super::Driver;
use ::snapshot::{
    manifest::ManifestId,
    sync::{Input, Wanted, WantedChunk},
};
use p2p::{Peer, Request, Response};

impl Driver {
    pub(super) fn ask_manifest(&self, peer: Peer, id: ManifestId) {
        let (say, network) = (self.say.clone(), self.shared.network.clone());
        let wanted = Wanted::Manifest(id);
        self.tokio.spawn(async move {
            let input = match network.request(peer, Request::Manifest { id: id.0 }).await {
                Ok(Response::Manifest(Some(payload))) => Input::Manifest {
                    peer,
                    id,
                    bytes: payload.0,
                },
                Ok(_) => Input::NotHere { peer, wanted },
                Err(_) => Input::Failed { peer, wanted },
            };
            let _ = say.send(input);
        });
    }

    /// Asks for a chunk. What comes is verified on all cores, while the joiner goes on.
    pub(super) fn ask_chunk(&self, peer: Peer, chunk: WantedChunk) {
        let (say, network) = (self.say.clone(), self.shared.network.clone());
        let id = chunk.id();
        let wanted = Wanted::Chunk(id);
        let request = Request::Chunk {
            id: id.0,
            base: chunk.base().map(|base| base.0),
        };
        self.tokio.spawn(async move {
            let input = match network.request(peer, request).await {
                Ok(Response::Chunk(Some(payload))) => {
                    return rayon::spawn(move || {
                        let bytes = payload.0;
                        let verified = chunk.verify(&bytes);
                        let _ = say.send(Input::Chunk {
                            peer,
                            id,
                            bytes,
                            verified,
                        });
                    });
                }
                Ok(_) => Input::NotHere { peer, wanted },
                Err(_) => Input::Failed { peer, wanted },
            };
            let _ = say.send(input);
        });
    }
}
