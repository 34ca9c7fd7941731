//! The accounts that send: made from the payers' keys, so that the next run finds them again; funded; signed for;
//! and compared at the end with what they must hold.

use super::load::Tracker;
use crate::{
    api,
    client::Client,
    context::Context,
    failure::{Failure, Result},
    names::Names,
    sender::{Options, Sender},
    table::grouped,
};
use ledger::{
    codec,
    hash::{Address, TxId},
    keys::SecretKey,
    transaction::{Operation, Transaction},
    units::{Amount, Height, Nonce},
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Operations of one funding transaction; the least that any chain's parameters commonly allow is more.
const FUNDINGS_MAX: usize = 32;
/// For how many blocks a signed transaction is good.
const VALID_BLOCKS: u64 = 1_000_000;

/// An account, and what it will send.
#[derive(Debug)]
pub struct Account {
    key: SecretKey,
    /// Its address.
    pub address: Address,
    /// What it holds before the load.
    pub balance: u64,
    /// The nonce of its first transaction.
    pub nonce: u64,
    /// Its transactions, in order: id and canonical bytes.
    pub transactions: Vec<(TxId, Vec<u8>)>,
}

/// Makes `count` accounts and gives each at least as much as it will send in `each` transactions.
///
/// # Errors
/// `insufficient_balance` if the testnet's accounts hold too little together.
pub fn prepare(
    context: &Context,
    client: &Client,
    count: usize,
    each: usize,
) -> Result<Vec<Account>> {
    let payers = payers(context, client)?;
    let (_, first_payer, _) = payers.first().ok_or_else(|| {
        Failure::not_found("none of the client keys of this testnet has an account")
    })?;
    let keys: Vec<SecretKey> = (0..count).map(|i| derived(first_payer, i)).collect();
    let supply: u64 = payers.iter().map(|(balance, ..)| balance).sum();
    let share = supply / u64::try_from(count).unwrap_or(u64::MAX).max(1);
    // What comes in from the neighbour pays for most of it; more than a share of the supply nobody can have.
    let wanted = u64::try_from(each).unwrap_or(u64::MAX).min(share * 9 / 10);
    if wanted == 0 {
        let message = format!("the testnet's accounts hold {} together", grouped(supply));
        return Err(Failure::failed("insufficient_balance", message).help("use fewer --accounts"));
    }
    fund(context, client, payers, &keys, wanted)?;
    keys.into_iter()
        .map(|key| {
            let address = key.address();
            let found = lookup(client, &address)?;
            let missing = || Failure::failed("lost", format!("account {address} is not there"));
            let found = found.ok_or_else(missing)?;
            let (balance, nonce) = (found.balance.0, found.nonce.0);
            if found.next_nonce != found.nonce {
                return Err(Failure::failed(
                    "busy",
                    "transactions of an earlier run are still waiting",
                )
                .help("try again in a few seconds"));
            }
            Ok(Account {
                key,
                address,
                balance,
                nonce,
                transactions: Vec::new(),
            })
        })
        .collect()
}

/// The testnet's client keys that have an account, the richest first.
fn payers(context: &Context, client: &Client) -> Result<Vec<(u64, SecretKey, Address)>> {
    let names = Names::of(&context.dir);
    let mut payers = Vec::new();
    for name in names.client_keys()? {
        let key = names.secret(&name)?;
        let address = key.address();
        if let Some(account) = lookup(client, &address)? {
            payers.push((account.balance.0, key, address));
        }
    }
    // By address first of all: the derived accounts must be the same in every run.
    payers.sort_by_key(|(_, _, address)| *address);
    Ok(payers)
}

/// Account `index` of those that are derived from a payer's key.
fn derived(payer: &SecretKey, index: usize) -> SecretKey {
    let digest = Sha256::new()
        .chain_update(b"tintype bench account")
        .chain_update(payer.seed())
        .chain_update((index as u64).to_be_bytes())
        .finalize();
    SecretKey::from_seed(digest.into())
}

fn lookup(client: &Client, address: &Address) -> Result<Option<api::Account>> {
    match client.get(&format!("/v1/accounts/{address}")) {
        Ok(account) => Ok(Some(account)),
        Err(failure) if failure.code == "not_found" => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn fund(
    context: &Context,
    client: &Client,
    payers: Vec<(u64, SecretKey, Address)>,
    keys: &[SecretKey],
    wanted: u64,
) -> Result {
    let mut needs = Vec::new();
    for key in keys {
        let to = key.address();
        let has = lookup(client, &to)?.map_or(0, |account| account.balance.0);
        if has < wanted {
            needs.push((to, wanted - has));
        }
    }
    let sender = Sender::new(client, &context.dir)?;
    let options = Options {
        nonce: None,
        valid_for: None,
        wait: Some(Duration::from_secs(30)),
    };
    let mut needs = needs.into_iter().peekable();
    for (mut balance, key, _) in payers {
        while needs.peek().is_some() {
            let mut operations = Vec::new();
            while let Some((to, amount)) =
                needs.next_if(|(_, amount)| operations.len() < FUNDINGS_MAX && *amount <= balance)
            {
                balance -= amount;
                operations.push(Operation::Transfer {
                    to,
                    amount: Amount(amount),
                });
            }
            if operations.is_empty() {
                break;
            }
            sender.send(&key, &operations, options)?;
        }
    }
    match needs.next() {
        None => Ok(()),
        Some((address, amount)) => {
            let message = format!("no payer has {} left for {address:.12}", grouped(amount));
            Err(Failure::failed("insufficient_balance", message)
                .help("use fewer --accounts, fewer --seconds, or a --fresh testnet"))
        }
    }
}

/// Signs what every account will send: one to the next account, again and again.
///
/// # Errors
/// If the node does not answer.
pub fn sign(client: &Client, accounts: &mut [Account], each: usize) -> Result {
    let status: api::Status = client.get("/v1/status")?;
    let chain = status.chain_id;
    let last_valid = Height(status.height.0.saturating_add(VALID_BLOCKS));
    let receivers: Vec<Address> = accounts
        .iter()
        .cycle()
        .skip(1)
        .take(accounts.len())
        .map(|a| a.address)
        .collect();
    accounts
        .par_iter_mut()
        .zip(receivers)
        .for_each(|(account, to)| {
            account.transactions = (0..each as u64)
                .map(|index| {
                    let transaction = Transaction {
                        chain,
                        sender: account.key.public_key(),
                        nonce: Nonce(account.nonce + index),
                        last_valid,
                        operations: vec![Operation::Transfer {
                            to,
                            amount: Amount(1),
                        }],
                    };
                    let signed = transaction.sign(&account.key);
                    (signed.id(), codec::encode(&signed))
                })
                .collect();
        });
    Ok(())
}

/// Whether each account made as many transactions as were accepted of it, and holds what it must. Waits a moment for
/// the nodes that are asked to have the last block.
///
/// # Errors
/// If no node answers.
pub fn check(clients: &[Client], accounts: &[Account], tracker: &Tracker) -> Result<bool> {
    let sent: Vec<u64> = (0..accounts.len())
        .map(|index| tracker.accepted_of(index))
        .collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut right = true;
        for (index, account) in accounts.iter().enumerate() {
            let client = clients.get(index % clients.len().max(1));
            let Some(client) = client else {
                return Ok(false);
            };
            let found: api::Account = client.get(&format!("/v1/accounts/{}", account.address))?;
            let before = index.checked_sub(1).unwrap_or(accounts.len() - 1);
            let (out, into) = (sent.get(index).copied(), sent.get(before).copied());
            let (out, into) = (out.unwrap_or(0), into.unwrap_or(0));
            let wanted = (account.balance + into).checked_sub(out);
            right &= found.nonce.0 == account.nonce + out && Some(found.balance.0) == wanted;
        }
        if right || std::time::Instant::now() > deadline {
            return Ok(right);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_has_a_key_of_its_own_and_the_same_in_every_run() {
        let payer = SecretKey::from_seed([1; 32]);
        assert_eq!(derived(&payer, 3).seed(), derived(&payer, 3).seed());
        assert_ne!(derived(&payer, 3).seed(), derived(&payer, 4).seed());
    }
}
