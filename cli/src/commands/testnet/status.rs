//! `tintype testnet status`: the table, once or live.

use crate::{
    context::Context,
    failure::Result,
    testnet::{status::Poller, view},
};
use clap::Args;

/// `tintype testnet status`
#[derive(Clone, Copy, Debug, Args)]
pub struct StatusArgs {
    /// Keep showing it
    #[arg(long)]
    pub watch: bool,
}

/// Shows it.
///
/// # Errors
/// If there is no testnet.
pub fn run(context: &Context, args: &StatusArgs) -> Result {
    let testnet = context.testnet()?;
    let mut poller = Poller::new(&testnet)?;
    if args.watch {
        return view::watch(context.out, &mut poller, "Ctrl-C ends this view", || {
            context.out.reader_is_gone()
        });
    }
    let status = poller.poll()?;
    context
        .out
        .result(&status, || view::render_for(context.out, &status));
    Ok(())
}
