//! `tintype query space`: a space, and all of its records.

use super::{QueryArgs, checker, keep_proof};
use crate::{
    api,
    client::{Client, query, segment},
    context::Context,
    evidence::Checker,
    failure::{Failure, Result},
    names::Names,
    table::{fields, grouped, table},
};
use ledger::{hash::Address, light::RecordsPage, state::tree::Place};
use serde_json::json;

/// Records asked for at once.
const PAGE_RECORDS: &str = "limit=1000";

/// Asks for a space itself.
pub(super) fn ask_space(context: &Context, name: &str, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let checker = checker(context, &client, args)?;
    let (space, verified) = space(&checker, name, args.height)?;
    // Of what is in it only the proof of its records tells: `--all`.
    let mut document = json!({
        "space": name,
        "owner": space.owner,
        "writers": space.writers,
        "changes": space.changes,
        "height": space.evidence.height,
        "state_root": space.evidence.state_root,
        "verified": verified,
        "node_says": {
            "records": space.records,
            "bytes": space.bytes,
            "records_root": space.records_root,
        },
    });
    keep_proof(&mut document, &space.evidence, args);
    let names = Names::of(&context.dir);
    let called = |address: &Address| {
        let name = names.name_of(address);
        name.unwrap_or_else(|| address.to_string())
    };
    context.out.result(&document, || {
        let writers: Vec<String> = space.writers.iter().map(called).collect();
        fields(&[
            ("space", name.to_owned()),
            ("owner", called(&space.owner)),
            ("writers", writers.join(", ")),
            ("changes", grouped(space.changes)),
            ("height", grouped(space.evidence.height.0)),
            ("state root", space.evidence.state_root.to_string()),
            ("verified", checker.verdict(verified)),
        ])
    });
    Ok(())
}

/// The space, as a node says, and whether it proved it.
fn space(checker: &Checker<'_>, name: &str, at: Option<u64>) -> Result<(api::Space, bool)> {
    let path = format!("/v1/spaces/{}{}", segment(name), query(at, &["proof=true"]));
    checker.ask::<api::Space>(&path, name)
}

/// Lists the records of a space, all of one height.
pub(super) fn list_records(context: &Context, name: &str, args: &QueryArgs) -> Result {
    let client = context.client()?;
    let asked = checker(context, &client, args)?;
    // The space says which height the pages are to be of, and that it is there.
    let (space, _) = space(&asked, name, args.height)?;
    let evidence = space.evidence;
    let at = Some(evidence.height.0);
    let checker = asked.at(at);
    let mut list = Vec::new();
    let (mut after, mut verified) = (None, true);
    loop {
        let (page, shown) = page(&checker, &client, name, at, after.as_ref())?;
        if page.evidence.state_root != evidence.state_root {
            return Err(checker.falsehood("its pages are of different states"));
        }
        let next = match shown {
            Some(shown) => {
                let RecordsPage {
                    records,
                    more_after,
                } = shown;
                let rows = records.into_iter();
                let rows = rows.map(|(key, record)| api::SpaceRecord::new(&key, record));
                let rows: Vec<_> = rows.collect();
                if rows != page.records {
                    return Err(checker.falsehood("the proof shows other records than the answer"));
                }
                list.extend(rows);
                more_after
            }
            None => {
                verified = false;
                list.extend(page.records);
                page.next_after
            }
        };
        // Places ascend from page to page: whoever answers with others would be asked for ever.
        match next {
            Some(next) if after.is_some_and(|after| next <= after) => {
                return Err(Failure::failed("bad_answer", "its pages lead nowhere"));
            }
            Some(next) => after = Some(next),
            None => break,
        }
    }
    list.sort_by(|a, b| a.key_hex.cmp(&b.key_hex));
    let document = json!({
        "space": name,
        "records": list,
        "height": evidence.height,
        "state_root": evidence.state_root,
        "verified": verified,
        "complete": verified,
    });
    context.out.result(&document, || {
        let row = |r: &api::SpaceRecord| {
            let value = r.value.clone();
            vec![
                r.key.clone(),
                value.unwrap_or_else(|| format!("0x{}", r.value_hex)),
                r.version.to_string(),
                grouped(r.written_at.0),
            ]
        };
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        let complete = if verified {
            "yes: proofs show that none is left out"
        } else {
            "not proven"
        };
        format!(
            "{}{}",
            fields(&[
                ("space", name.to_owned()),
                ("records", grouped(list.len() as u64)),
                ("height", grouped(evidence.height.0)),
                ("state root", evidence.state_root.to_string()),
                ("verified", checker.verdict(verified)),
                ("complete", complete.into()),
            ]),
            table(&["KEY", "VALUE", "VERSION", "WRITTEN-AT"], &rows)
        )
    });
    Ok(())
}

/// A page as the node says, and what of it is proven.
fn page(
    checker: &Checker<'_>,
    client: &Client,
    name: &str,
    at: Option<u64>,
    after: Option<&Place>,
) -> Result<(api::Records, Option<RecordsPage>)> {
    let after_text = after.map(|place| format!("after={place}"));
    let mut parts = vec!["proof=true", PAGE_RECORDS];
    parts.extend(after_text.as_deref());
    let path = format!("/v1/spaces/{}/records{}", segment(name), query(at, &parts));
    let page: api::Records = client.get(&path)?;
    let proven = checker.proven(&page.evidence, |state, proof| {
        state.records(name, after, proof)
    })?;
    Ok((page, proven.map(ledger::light::Verified::into_value)))
}
