//! Reading: single entries, what lies below a prefix, and what differs between two trees.

use super::*;
use crate::state::tree::{Difference, Prefix, PrefixError};

/// Prefixes of the lengths at which places of [`place`] part, and of others.
fn prefix() -> impl Strategy<Value = Prefix> {
    let len = prop_oneof![0u16..20, 116u16..132, 248u16..=256, 0u16..=256];
    (place(), len).prop_map(|(place, len)| Prefix::of(&place, len))
}

proptest! {
    #[test]
    fn get_finds_what_is_there(model in model(80), places in prop::collection::vec(place(), 20)) {
        let tree = tree_of(&model);
        for place in places.iter().chain(model.keys()) {
            prop_assert_eq!(tree.get(place), model.get_key_value(place).map(entry_ref));
        }
    }

    #[test]
    fn a_prefix_holds_what_begins_with_it(model in model(80), prefix in prefix()) {
        let tree = tree_of(&model);
        let below: Model = model.into_iter().filter(|(p, _)| prefix.contains(p)).collect();
        let subtree = tree.subtree(&prefix);
        prop_assert_eq!(subtree.is_some(), !below.is_empty());
        if let Some(subtree) = subtree {
            prop_assert!(subtree.iter().eq(below.iter().map(entry_ref)));
            assert_holds(&Tree::from(subtree.clone()), &below);
            prop_assert!(below.keys().all(|p| subtree.prefix().contains(p)));
        }
    }

    /// Descending by parts reaches every entry, and parts fold to what they are parts of.
    #[test]
    fn parts_lead_to_every_entry(model in model(60), count in 2..9_usize) {
        let tree = tree_of(&model);
        let mut found = Vec::new();
        let mut pending: Vec<_> = tree.top().map(|top| top.part()).into_iter().collect();
        while let Some(part) = pending.pop() {
            let subtree = tree.subtree(&part.prefix).unwrap();
            if part.totals.entries == 1 {
                prop_assert_eq!(subtree.parts(count), [part]);
                found.push(*part.prefix.bits());
                continue;
            }
            let parts = subtree.parts(count);
            let most = usize::try_from(part.totals.entries).unwrap();
            prop_assert_eq!(parts.len(), count.min(most));
            let folded = super::super::fold(&parts).unwrap();
            prop_assert_eq!(folded.root, StateRoot::from(part.hash));
            prop_assert_eq!(folded.totals, part.totals);
            pending.extend(parts.into_iter().rev());
        }
        prop_assert!(found.iter().eq(model.keys()));
    }

    #[test]
    fn changes_are_those_of_the_model(start in model(80), edits in edits(40), unrelated in model(40)) {
        let old = tree_of(&start);
        let mut new = old.clone();
        apply(&mut new, &edits);
        let mut model = start.clone();
        apply_to_model(&mut model, &edits);
        // The same content without a shared node must give the same, and so must trees that have nothing in common.
        let pairs = [(new, &model), (tree_of(&model), &model), (tree_of(&unrelated), &unrelated)];
        for (new, model) in &pairs {
            let found: Vec<Difference<'_>> = old.changes(new).collect();
            prop_assert_eq!(found, model_changes(&start, model));
            let found: Vec<Difference<'_>> = new.changes(&old).collect();
            prop_assert_eq!(found, model_changes(model, &start));
        }
    }

    #[test]
    fn a_prefix_has_one_form(bits in any::<[u8; 32]>(), len in 0u16..300) {
        let given = Prefix::new(Place(bits), len);
        match given {
            Ok(prefix) => prop_assert_eq!(prefix, Prefix::of(&Place(bits), len)),
            Err(PrefixError::TooLong(_)) => prop_assert!(len > 256),
            Err(PrefixError::BitsBehindEnd(_)) => {
                prop_assert_ne!(*Prefix::of(&Place(bits), len).bits(), Place(bits));
            }
        }
        let json = serde_json::json!({"bits": Place(bits), "len": len});
        prop_assert_eq!(serde_json::from_value::<Prefix>(json).ok(), given.ok());
    }
}

fn model_changes<'a>(old: &'a Model, new: &'a Model) -> Vec<Difference<'a>> {
    let places: std::collections::BTreeSet<&Place> = old.keys().chain(new.keys()).collect();
    let at = |model: &'a Model, place| model.get_key_value(place).map(entry_ref);
    places
        .into_iter()
        .map(|place| Difference {
            place: *place,
            old: at(old, place),
            new: at(new, place),
        })
        .filter(|difference| difference.old != difference.new)
        .collect()
}

/// A hash that rots in memory is found though everything above it is as it was: that of an entry, and that of a node inside a page.
#[test]
fn an_audit_finds_a_hash_that_has_rotted() {
    use crate::state::tree::node::Node;
    let model: Model = (0..3)
        .map(|n| (Place([n; 32]), (vec![n], vec![n])))
        .collect();
    for rots_right in [false, true] {
        let mut tree = tree_of(&model);
        let Some(top) = &mut tree.top else { panic!() };
        assert_eq!(top.audit(), Ok(()));
        let Node::Page(page) = &mut top.node else {
            panic!("three small entries are a page")
        };
        let (inside, node) = page.inside();
        let (_, left, right) = inside.children(&node);
        let rotten = if rots_right { right } else { left };
        inside.held(&rotten).hash.set([9; 32]);
        assert!(top.audit().is_err(), "right: {rots_right}");
    }
}
