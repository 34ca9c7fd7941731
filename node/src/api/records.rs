//! The records of a space, page by page, each page with its own proof.

use super::{
    Api,
    error::{Answer, ApiError},
    extract::{self, At, Page, Query, shortened},
    query::{evidence, evidence_by, found_or_absent, picture, space_name},
    types,
};
use axum::{Json, extract::State, http::Uri};
use ledger::{
    codec,
    light::{RecordsPage, read_records, records_range},
    state::{
        entries::{Key, Space},
        tree::PageLimits,
    },
};

/// Records of a page, if nothing else is said.
const RECORDS_USUAL: u64 = 100;
/// Records of a page.
const RECORDS_MAX: u64 = 1_000;
/// Bytes of a page's keys and values, unless one record alone has more.
const BYTES_MAX: u64 = 1 << 20;

#[utoipa::path(get, path = "/v1/spaces/{space}/records", tag = "state",
    params(("space" = String, Path, description = "The space's name"), Page),
    responses(
        (status = 200, description = "A page of its records", body = types::Records),
        (status = "4XX", description = "Not there, not kept, or badly asked", body = types::ErrorDocument),
    ))]
pub(super) async fn list(
    State(api): State<Api>,
    uri: Uri,
    Query(page): Query<Page>,
) -> Answer<types::Records> {
    let name = space_name(extract::segment(&uri, 2))?;
    let entries = page.limit.unwrap_or(RECORDS_USUAL);
    if !(1..=RECORDS_MAX).contains(&entries) {
        let message = format!("a page cannot have {entries} records");
        let help = format!("give a limit of 1 to {RECORDS_MAX}");
        return Err(ApiError::bad_request(message, help));
    }
    let limits = PageLimits {
        entries,
        bytes: BYTES_MAX,
    };
    let at = At {
        height: page.height,
        proof: page.proof,
    };
    api.ask(move |node| {
        let state = picture(node, at)?;
        found_or_absent(
            state.entry::<Space>(&name)?,
            || format!("space {:?}", shortened(&name)),
            "check its name, and whether the space is not newer than that height",
            &evidence(node, &state, &Key::Space(name.clone()), at)?,
            at,
        )?;
        let range = records_range(&name, page.after.as_ref()).ok_or_else(|| {
            let message = "no record of that space can come after that place";
            ApiError::bad_request(message, "give the next_after of a page of the same space")
        })?;
        let proof = state.tree().prove_range(range, limits)?;
        let proven = proof.verify(state.root(), range);
        let proven = proven.map_err(|e| ApiError::internal(e.to_string()))?;
        let RecordsPage {
            records,
            more_after,
        } = read_records(&name, &proven).map_err(|e| ApiError::internal(e.to_string()))?;
        if more_after.is_some() {
            node.reads_on(state.height());
        }
        let proof = at.proof.then(|| codec::encode(&proof));
        Ok(Json(types::Records {
            records: records
                .into_iter()
                .map(|(key, record)| types::SpaceRecord::new(&key, record))
                .collect(),
            next_after: more_after,
            evidence: evidence_by(node, &state, proof),
            space: name,
        }))
    })
    .await
}
