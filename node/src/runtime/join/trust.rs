//! What a joiner trusts: the genesis's validators, or those of a block that the operator named by height and hash.
//!
//! The hash is enough to know the true block from any other, whoever sends it: the header has that hash, and names that of
//! its validators. Any peer is asked; none is blamed for another block, since it may be the operator who is wrong.

use super::super::{NodeError, shared::Shared};
use ledger::{
    light::{Checkpoint, LightBlock, Trusted},
    units::Height,
    validators::ValidatorSet,
};
use p2p::{Request, Response};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long peers are asked for the block, before the node gives up.
const ASK_FOR: Duration = Duration::from_secs(60);
/// How long to wait before they are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Whom a joiner believes, and from which height on.
pub(in crate::runtime) struct Trust {
    pub(in crate::runtime) validators: ValidatorSet,
    pub(in crate::runtime) height_min: Height,
}

/// Gets what the operator trusts from the peers. Nothing, if the node was told to stop.
///
/// # Errors
/// [`NodeError::Trust`] if no peer gives it, [`NodeError::Genesis`] if the genesis has no validators.
pub(in crate::runtime) async fn trust(
    shared: &Arc<Shared>,
    checkpoint: Option<Checkpoint>,
    mut stopping: watch::Receiver<bool>,
) -> Result<Option<Trust>, NodeError> {
    let Some(checkpoint) = checkpoint else {
        let validators = shared.genesis.validator_set();
        return Ok(Some(Trust {
            validators: validators.map_err(|e| NodeError::Genesis(e.to_string()))?,
            height_min: Height(1),
        }));
    };
    let begun = Instant::now();
    let mut last = "no peer answered".to_owned();
    while begun.elapsed() < ASK_FOR {
        for info in shared.network.peers() {
            let height = checkpoint.height;
            let request = shared.network.request(info.peer, Request::Light { height });
            let Ok(Response::Light(Some(payload))) = request.await else {
                continue;
            };
            match verified(shared, checkpoint, &payload.0) {
                Ok(validators) => {
                    tracing::info!(%checkpoint, peer = %info.peer, "the trusted block is here");
                    return Ok(Some(Trust {
                        validators,
                        height_min: height,
                    }));
                }
                // Once, however many peers say so, and how often.
                Err(why) if why == last => {}
                Err(why) => {
                    tracing::warn!(%checkpoint, peer = %info.peer, why, "a peer has another block than the trusted one");
                    last = why;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            _ = stopping.wait_for(|stop| *stop) => return Ok(None),
        }
    }
    Err(NodeError::Trust {
        checkpoint,
        why: last,
    })
}

fn verified(shared: &Shared, checkpoint: Checkpoint, bytes: &[u8]) -> Result<ValidatorSet, String> {
    let block = LightBlock::decode(bytes).map_err(|e| e.to_string())?;
    let trusted = Trusted::block(checkpoint, block).map_err(|e| e.to_string())?;
    if trusted.chain() != shared.chain {
        return Err("it is of another chain than genesis.json".into());
    }
    Ok(trusted.validators().clone())
}
