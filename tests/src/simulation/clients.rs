//! Those who make transactions: a client who pays, and validators who approve that others join and leave.

use super::{Disk, Happening, Simulation, Violation};
use ledger::{
    hash::Address,
    keys::SecretKey,
    transaction::{Operation, Proposal, SignedTransaction, Transaction, VerifiedTransaction},
    units::{Amount, Height, Nonce, Power},
    untrusted::Untrusted,
};
use node::replica::Input;

/// A client whose transactions are so far ahead of what is committed begins again from there.
const AHEAD_MAX: u64 = 50;
/// How often validators approve, in simulated microseconds.
const APPROVE_EVERY_US: u64 = 400_000;
/// Blocks after which they approve something else.
const BLOCKS_A_CHANGE: u64 = 6;

impl Simulation {
    /// The client pays somebody through any node that is up. One that crashes may take the payment with it; then the
    /// client says it again.
    pub(super) fn client(&mut self) -> Result<(), Violation> {
        let pause = 1_000_000 / self.world.transactions_per_second.max(1);
        self.schedule(pause, Happening::Client);
        if self.world.transactions_per_second == 0 {
            return Ok(());
        }
        let node = usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0);
        let Some(replica) = &self.nodes[node].replica else {
            return Ok(());
        };
        let account = replica
            .state()
            .account(&self.client.address())
            .unwrap_or_default();
        if self.client_nonce.0 > account.nonce.0 + AHEAD_MAX || self.client_nonce < account.nonce {
            self.client_nonce = account.nonce;
        }
        let next = replica.next_nonce(&self.client.address());
        self.client_nonce = next.next();
        let to = Address([u8::try_from(next.0 % 251).unwrap_or(0); 32]);
        let amount = Amount(1);
        let transaction = self.signed(&self.client, next, Operation::Transfer { to, amount });
        self.submit(node, transaction)
    }

    /// Every validator that is up approves the change whose turn it is: the nodes that are to join do so one after
    /// another, then leave one after another, and so on.
    pub(super) fn validators_approve(&mut self) -> Result<(), Violation> {
        self.schedule(APPROVE_EVERY_US, Happening::ValidatorsApprove);
        let joining = self.world.joining as u64;
        let height = self.committed.last_key_value().map_or(0, |(h, _)| h.0);
        let turn = height / BLOCKS_A_CHANGE;
        let whose = self.nodes.len() - 1 - usize::try_from(turn % joining).unwrap_or(0);
        let joins = (turn / joining).is_multiple_of(2);
        let operation = Operation::Approve {
            proposal: Proposal::Validator {
                public_key: self.nodes[whose].key.public_key(),
                power: Power(u64::from(joins)),
            },
        };
        for node in 0..self.nodes.len() {
            let key = self.nodes[node].key.clone();
            let Some(replica) = &self.nodes[node].replica else {
                continue;
            };
            if replica
                .state()
                .next_validators()
                .get(&key.address())
                .is_none()
            {
                continue;
            }
            let nonce = replica.next_nonce(&key.address());
            let transaction = self.signed(&key, nonce, operation.clone());
            self.submit(node, transaction)?;
        }
        Ok(())
    }

    fn submit(&mut self, node: usize, transaction: VerifiedTransaction) -> Result<(), Violation> {
        let input = Input::Submitted {
            ticket: 0,
            transactions: vec![transaction],
        };
        self.step(node, input)
    }

    #[allow(clippy::expect_used, reason = "the simulation's own transaction")]
    fn signed(&self, key: &SecretKey, nonce: Nonce, operation: Operation) -> VerifiedTransaction {
        let chain = Disk::chain(&self.genesis);
        let signed: SignedTransaction = Transaction {
            chain,
            sender: key.public_key(),
            nonce,
            last_valid: Height(u64::MAX),
            operations: vec![operation],
        }
        .sign(key);
        Untrusted::new(signed)
            .verify(&chain)
            .expect("a good transaction")
    }
}
