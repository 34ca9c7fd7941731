//! Tests of the API against a node that is made up.
