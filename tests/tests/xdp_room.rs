//! Privileged: full tables, through the loaded programs: see `ha_tests::room`.

use anyhow::Result;
use ha_tests::room::{Loaded, history};

#[test]
fn with_flows_full_every_recorded_connection_goes_on_and_others_go_by_the_hash() -> Result<()> {
    history::flows(&mut Loaded::new("FLOWS")?)
}

#[test]
fn with_reverse_full_every_hidden_client_goes_on_and_newcomers_are_refused() -> Result<()> {
    history::reverse(&mut Loaded::new("REVERSE")?)
}

#[test]
fn however_often_embryos_are_flooded_away_handshakes_succeed_where_they_began() -> Result<()> {
    history::embryonic(&mut Loaded::new("EMBRYONIC")?)
}

#[test]
fn with_exceptions_full_those_that_are_in_it_stay_with_their_backends() -> Result<()> {
    history::exceptions(&mut Loaded::new("EXCEPTIONS")?)
}

#[test]
fn under_a_flood_of_syns_connections_go_on_and_new_ones_are_made_also_where_syns_hold_every_source_port() -> Result<()> {
    history::flood(&mut Loaded::new("")?, 400, 2000)
}
